//! The Lua scripts, which Redis runs atomically. Every script works on the [`KeyNames`] of one token key: `KEYS` are
//! its entry, its lease and its fence.
//!
//! The fence is a number. The next number is assigned when the lease is acquired, when an entry is written without a
//! lease, and when an entry is deleted. A leader may write while its number is the latest. The entry also contains the
//! number with which it was written. If the fence is lost but the entry is not, numbering continues from that number.
//! The client chooses random increments, so that numbers do not repeat after a failover or a loss of data.
//!
//! A late leader, whose number is not the latest, may still replace the entry whose refresh token it has redeemed, or
//! the tombstone of that refresh token. Otherwise the successor of the redeemed refresh token would be lost.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

use crate::names::KeyNames;

const SHARED_FUNCTIONS: &str = r"
local entry, lease, fence = KEYS[1], KEYS[2], KEYS[3]

-- The version of the entry: the number with which it was written; empty if there is none.
local function version()
    local number = redis.pcall('HGET', entry, 'fence')
    return type(number) == 'string' and number or ''
end

-- The last number that was assigned, or 0 if this server has none.
local function latest()
    return math.max(tonumber(redis.call('GET', fence)) or 0, tonumber(version()) or 0)
end

-- Assigns the next number, and stores it as the fence for a time in milliseconds.
local function advance(step, time)
    local number = latest() + tonumber(step)
    redis.call('SET', fence, number, 'PX', time)
    return number
end

-- Writes the entry. The arguments from ARGV[first] are: its lifetime in milliseconds, or 0 if unlimited; the additional
-- lifetime of the fence; the fields. The fence does not decrease when a late leader writes.
local function write(number, first)
    local time, last = tonumber(ARGV[first]), math.max(latest(), number)
    redis.call('UNLINK', entry)
    redis.call('HSET', entry, 'fence', number, unpack(ARGV, first + 2))
    if time > 0 then
        redis.call('PEXPIRE', entry, time)
        redis.call('SET', fence, last, 'PX', time + tonumber(ARGV[first + 1]))
    else
        redis.call('SET', fence, last)
    end
end

local function release(owner)
    if redis.call('GET', lease) == owner then
        redis.call('UNLINK', lease)
    end
end
";

macro_rules! scripts {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal;)*) => {
        $(
            $(#[doc = $doc])*
            pub(crate) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(&format!("{SHARED_FUNCTIONS}{}", $code)));
        )*

        pub(crate) fn all() -> impl Iterator<Item = &'static Script> {
            [$(&*$name),*].into_iter()
        }
    };
}

scripts! {
    /// Writes an entry without a lease. `ARGV`: the increment, then the arguments of `write`.
    STORE = "write(latest() + tonumber(ARGV[1]), 2)";

    /// Writes an entry and ends the lease. The entry is written if the number of the leader is the latest, if the
    /// current entry has the refresh token that the leader redeemed, or if that entry is the tombstone of that refresh
    /// token. `ARGV`: the owner; the number; the version of the redeemed entry, or empty; the count of pairs of a field
    /// and a digest; these pairs; then the arguments of `write`. Returns 1 if the entry was written.
    PUBLISH = r"
        local number, last, pairs_end = tonumber(ARGV[2]), latest(), 4 + 2 * tonumber(ARGV[4])
        local may_write = last == 0 or last == number or (ARGV[3] ~= '' and version() == ARGV[3])
        for first = 5, pairs_end, 2 do
            may_write = may_write or redis.pcall('HGET', entry, ARGV[first]) == ARGV[first + 1]
        end
        if may_write then write(number, pairs_end + 1) end
        release(ARGV[1])
        return may_write and 1 or 0
    ";

    /// Acquires the lease if it is free and the entry has not changed since the caller read it. `ARGV`: the owner; the
    /// lease time; the fence time; the increment; the version that the caller read; the fields of refused refresh
    /// tokens. Returns the outcome (0: another process holds the lease; 1: the caller holds it; 2: the entry has
    /// changed); a number (0: the remaining lease time; 1: the fence); and, if the entry has changed, its version, its
    /// value, its rejected value, and the digests of refused refresh tokens.
    ACQUIRE = r"
        local found = redis.pcall('HMGET', entry, 'fence', 'value', 'spent', unpack(ARGV, 6))
        if found.err then found = {false, false, false} end
        if (found[1] or '') ~= ARGV[5] then
            return {2, 0, found[1], found[2], found[3], {unpack(found, 4)}}
        end
        local is_free = redis.call('SET', lease, ARGV[1], 'NX', 'PX', ARGV[2])
        if is_free then return {1, advance(ARGV[4], ARGV[3]), '', false, false, {}} end
        return {0, redis.call('PTTL', lease), '', false, false, {}}
    ";

    /// Renews a lease. A lost lease is acquired again if no number has been assigned since and its leader has not
    /// published. `ARGV`: the owner; the lease time; the number; the fence time. Returns 1 if the owner holds the
    /// lease.
    RENEW = r"
        local owner = redis.call('GET', lease)
        if owner == ARGV[1] then return redis.call('PEXPIRE', lease, ARGV[2]) end
        local last = latest()
        if owner or version() == ARGV[3] or (last ~= 0 and last ~= tonumber(ARGV[3])) then return 0 end
        redis.call('SET', lease, ARGV[1], 'PX', ARGV[2])
        if last == 0 then redis.call('SET', fence, ARGV[3], 'PX', ARGV[4]) end
        return 1
    ";

    /// Ends a lease. `ARGV`: the owner.
    RELEASE = "release(ARGV[1])";

    /// Replaces or deletes the entry if it has not changed since the owner read it, and ends the lease. If there was no
    /// entry, the script creates one. `ARGV`: the owner; the version that the owner read; the number; then the
    /// arguments of `write`. Without fields, the entry is deleted.
    DISCARD = r"
        if version() == ARGV[2] and (ARGV[2] ~= '' or (ARGV[6] and latest() == tonumber(ARGV[3]))) then
            if ARGV[6] then write(tonumber(ARGV[3]), 4) else redis.call('UNLINK', entry) end
        end
        release(ARGV[1])
    ";

    /// Deletes the stored token if it has one of the given fingerprints. A token with a refresh token is not deleted
    /// but marked as rejected, so that the next leader can redeem the refresh token. Returns 1 if the token was deleted
    /// or marked. `ARGV`: pairs of a field and a fingerprint.
    REJECT = r"
        local value = redis.pcall('HGET', entry, 'value')
        if type(value) ~= 'string' then return 0 end
        for first = 1, #ARGV, 2 do
            if redis.call('HGET', entry, ARGV[first]) == ARGV[first + 1] then
                if redis.call('HEXISTS', entry, 'renewable') == 1 then
                    redis.call('HSET', entry, 'spent', value)
                    redis.call('HDEL', entry, 'value')
                else
                    redis.call('UNLINK', entry)
                end
                return 1
            end
        end
        return 0
    ";

    /// Deletes an entry and assigns the next number, so that the publications of earlier leaders are discarded. `ARGV`:
    /// the increment; the fence time.
    DELETE = r"
        if latest() > 0 then advance(ARGV[1], ARGV[2]) end
        redis.call('UNLINK', entry)
    ";
}

/// Creates an invocation of a script with the Redis keys of a token key. The caller adds the arguments.
pub(crate) fn new_invocation<'a>(script: &'a Script, names: &KeyNames) -> ScriptInvocation<'a> {
    let mut invocation = script.key(&names.entry);
    invocation.key(&names.lease).key(&names.fence);
    invocation
}
