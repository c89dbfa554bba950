//! What Redis does in one step. Every script works on the [`Names`] of one key: `KEYS` are its entry, its lease and its
//! fence.
//!
//! The fence is a number. Whoever takes the lease takes the next one with it, and so does whoever writes without a
//! lease, or deletes. A leader may write while its number is the last that was given out. The number lies in the entry
//! too: should the fence be lost while its entry is not, it goes on from there.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

use crate::names::Names;

const COMMON: &str = r"
local entry, lease, fence = KEYS[1], KEYS[2], KEYS[3]

-- The last number that was given out, as far as this server knows.
local function latest()
    local kept = redis.pcall('HGET', entry, 'fence')
    return math.max(tonumber(redis.call('GET', fence)) or 0, type(kept) == 'string' and tonumber(kept) or 0)
end

-- Gives out the next number; the fence is kept so many milliseconds.
local function advance(time)
    local number = latest() + 1
    redis.call('SET', fence, number, 'PX', time)
    return number
end

-- Writes the entry. From ARGV[first]: its time in milliseconds, 0 for ever; how much longer the fence stays; the
-- fields.
local function write(number, first)
    local time = tonumber(ARGV[first])
    redis.call('UNLINK', entry)
    redis.call('HSET', entry, 'fence', number, unpack(ARGV, first + 2))
    if time > 0 then
        redis.call('PEXPIRE', entry, time)
        redis.call('SET', fence, number, 'PX', time + tonumber(ARGV[first + 1]))
    else
        redis.call('SET', fence, number)
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
            pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(&format!("{COMMON}{}", $code)));
        )*

        /// Every script that there is.
        pub(crate) fn all() -> impl Iterator<Item = &'static Script> {
            [$(&*$name),*].into_iter()
        }
    };
}

scripts! {
    /// Writes an entry, whoever leads. `ARGV`: as `write`.
    STORE = "write(latest() + 1, 1)";

    /// Writes an entry, if nobody was given a later number than this leader, and ends its lease; whether it was
    /// written. `ARGV`: the owner, the number, then as `write`.
    PUBLISH = r"
        local known = latest()
        local is_last = known == 0 or known == tonumber(ARGV[2])
        if is_last then write(tonumber(ARGV[2]), 3) end
        release(ARGV[1])
        return is_last and 1 or 0
    ";

    /// Takes the lease, if the entry is the one that the caller has seen, and the lease is free. `ARGV`: the owner, the
    /// time of the lease, that of the fence, the fence of the entry that was seen. Returns what became of it – 0: the
    /// lease is taken by another, 1: it is the caller's, 2: the entry is another –, a number – the time that the lease
    /// has left, or the fence –, and the entry, if it is another: its fence, its value, its value if that was rejected.
    TAKE = r"
        local found = redis.pcall('HMGET', entry, 'fence', 'value', 'spent')
        if found.err then found = {false, false, false} end
        if (found[1] or '') ~= ARGV[4] then return {2, 0, found[1], found[2], found[3]} end
        local is_free = redis.call('SET', lease, ARGV[1], 'NX', 'PX', ARGV[2])
        if is_free then return {1, advance(ARGV[3]), '', false, false} end
        return {0, redis.call('PTTL', lease), '', false, false}
    ";

    /// Goes on with a lease. `ARGV`: the owner, the time. Whether it still is the owner's.
    KEEP = r"
        if redis.call('GET', lease) ~= ARGV[1] then return 0 end
        return redis.call('PEXPIRE', lease, ARGV[2])
    ";

    /// Ends a lease. `ARGV`: the owner.
    RELEASE = "release(ARGV[1])";

    /// Ends a lease, and forgets the entry if it is the one that the owner has seen. `ARGV`: the owner, its fence.
    DISCARD = r"
        if redis.pcall('HGET', entry, 'fence') == ARGV[2] then redis.call('UNLINK', entry) end
        release(ARGV[1])
    ";

    /// Forgets a token if it has one of these fingerprints; whether it was there. What came with a refresh token stays
    /// for the next leader. `ARGV`: pairs of a field and a fingerprint.
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

    /// Forgets an entry, and lets no leader from before write another. `ARGV`: the time of the fence.
    FORGET = r"
        if latest() > 0 then advance(ARGV[1]) end
        redis.call('UNLINK', entry)
    ";
}

/// A script with its keys; arguments are added.
pub(crate) fn on<'a>(script: &'a Script, names: &Names) -> ScriptInvocation<'a> {
    let mut invocation = script.key(&names.entry);
    invocation.key(&names.lease).key(&names.fence);
    invocation
}
