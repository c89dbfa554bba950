//! The lease: one process, the leader, obtains a token for all processes that share the cache.
//!
//! Handled failures:
//! - **The leader dies.** Its lease expires, and the next process leads.
//! - **The provider takes longer than the lease time, or Redis fails before the publication.** The lease is renewed
//!   while its guard exists. Other processes wait for a limited time. A lease lost by Redis is acquired again unless
//!   another process has led or written since.
//! - **A leader is late.** It was suspended or disconnected, its lease expired, and another process has acquired the lease
//!   since. The publication of the late leader is discarded, because its fence is not the latest.
//! - **A late leader has redeemed a refresh token.** The next leader finds the same refresh token, the server refuses it,
//!   and the leader writes a tombstone. The late publication replaces the tombstone, because it contains the only valid
//!   refresh token of the login. It also replaces the entry with the redeemed refresh token; a tombstone is not written
//!   afterwards.
//! - **The response to an acquisition is lost.** The lease may have been acquired. It is released in the background, so
//!   that no process waits for it.
//! - **All entries are cleared while a process leads.** The fence increases and tombstones are deleted, so the leader's
//!   publication is discarded.
//! - **Redis executes a renewal after the publication.** The renewal does not acquire the lease again, because the entry
//!   has the leader's fence.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, Backoff, LeaseGuard, LeaseOutcome, RefreshLease, Secret, TokenError, TokenKey};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cache::{EntryContent, FENCE_EXTRA_LIFETIME, RedisTokenCache, milliseconds, step};
use crate::error::CacheError;
use crate::link::sleep;
use crate::names::Names;
use crate::scripts;

/// The backoff between two polls of a lease that another process holds.
const POLL_BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(160));

/// The content of the entry when it was last read.
#[derive(Default)]
struct LastEntry {
    /// The fence of the entry, or empty without an entry.
    version: Vec<u8>,
    token: Option<AccessToken>,
    is_rejected: bool,
    /// The digests of the refused refresh token, with their fields.
    refused: Vec<(String, Vec<u8>)>,
}

/// The result of an attempt to acquire the lease.
enum Attempt {
    /// This process holds the lease.
    Leading,
    /// Another process holds the lease. The value is the remaining lease time, or `None` if Redis does not report it.
    Busy(Option<Duration>),
    /// The entry has changed since it was last read. The value is its new content.
    Changed(LastEntry),
}

/// A lease that this process holds, or may hold. Dropping it releases the lease.
struct LeaseHold {
    cache: RedisTokenCache,
    names: Names,
    owner: String,
    /// The fence of the lease.
    number: u64,
    /// False if this process certainly does not hold the lease.
    may_be_held: bool,
    renewal: Option<AbortHandle>,
}

/// The exclusive right to obtain a token.
struct Guard {
    hold: LeaseHold,
    seen: LastEntry,
    /// The token to redeem: the stored one, or the caller's previous one.
    predecessor: Option<AccessToken>,
}

#[async_trait]
impl RefreshLease for RedisTokenCache {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        let (start, wait) = (Instant::now(), self.settings.wait);
        let mut hold = LeaseHold::new(self, key);
        let (mut seen, mut polls) = (LastEntry::default(), 0_u32);
        loop {
            match hold.attempt(&seen).await? {
                Attempt::Leading => {
                    hold.renew();
                    let predecessor = seen.token.as_ref().or(previous).cloned();
                    return Ok(LeaseOutcome::Acquired(Box::new(Guard { hold, seen, predecessor })));
                }
                Attempt::Changed(changed) => match changed.refreshed_token(self, previous) {
                    Some(token) => return Ok(LeaseOutcome::AlreadyRefreshed(token.clone())),
                    None => seen = changed,
                },
                Attempt::Busy(left) => {
                    let waited = start.elapsed();
                    let remaining_wait = wait.checked_sub(waited).filter(|left| !left.is_zero());
                    let remaining_wait = remaining_wait.ok_or_else(|| CacheError::busy(waited))?;
                    polls = polls.saturating_add(1);
                    let pause = POLL_BACKOFF.pause(polls, fastrand::f64());
                    sleep([Some(remaining_wait), left].into_iter().flatten().fold(pause, Duration::min)).await;
                }
            }
        }
    }
}

impl LastEntry {
    /// Returns the token if it is valid and differs from `previous`: another process has obtained it.
    fn refreshed_token(&self, cache: &RedisTokenCache, previous: Option<&AccessToken>) -> Option<&AccessToken> {
        let token = self.token.as_ref().filter(|_| !self.is_rejected)?;
        let now = cache.settings.clock.now();
        let is_valid = [token.expires_at(), token.refresh_at()].into_iter().flatten().all(|moment| moment > now)
            && token.not_before().is_none_or(|not_before| not_before <= now);
        (is_valid && previous.is_none_or(|previous| !previous.is_same(token))).then_some(token)
    }
}

impl LeaseHold {
    fn new(cache: &RedisTokenCache, key: &TokenKey) -> Self {
        let owner = format!("{:032x}", fastrand::u128(..));
        Self { cache: cache.clone(), names: cache.names(key), owner, number: 0, may_be_held: false, renewal: None }
    }

    async fn attempt(&mut self, seen: &LastEntry) -> Result<Attempt, CacheError> {
        type Response = (u8, i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Option<Vec<u8>>>);
        let times = (milliseconds(self.cache.settings.lease), milliseconds(FENCE_EXTRA_LIFETIME));
        let fields = self.cache.settings.sealing.refusal_fields();
        // Without a connection, no command is sent, so the lease cannot be acquired.
        self.may_be_held = self.cache.link.is_open();
        let arguments = (&self.owner, times.0, times.1, step(), &seen.version, &fields);
        let response: Response = self.cache.run(&scripts::ACQUIRE, &self.names, arguments).await?;
        let (kind, number, version, value, rejected_value, refused) = response;
        let number = u64::try_from(number).unwrap_or_default();
        self.may_be_held = kind == 1;
        Ok(match kind {
            1 => {
                self.number = number;
                Attempt::Leading
            }
            0 => Attempt::Busy(Some(Duration::from_millis(number)).filter(|left| !left.is_zero())),
            _ => {
                let is_rejected = value.is_none();
                let token =
                    value.or(rejected_value).and_then(|value| self.cache.settings.sealing.open(&self.names, value));
                let refused = fields.into_iter().zip(refused).filter_map(|(field, digest)| Some((field, digest?)));
                let (version, refused) = (version.unwrap_or_default(), refused.collect());
                Attempt::Changed(LastEntry { version, token, is_rejected, refused })
            }
        })
    }

    /// Starts to renew the lease in the background, until `self` is dropped or the renewal is
    /// [stopped](Self::stop_renewal).
    fn renew(&mut self) {
        let (cache, names, owner, number) = (self.cache.clone(), self.names.clone(), self.owner.clone(), self.number);
        let lease = self.cache.settings.lease;
        let renewal = async move {
            let mut ticks = interval(lease / 3);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let arguments = (&owner, milliseconds(lease), number, milliseconds(FENCE_EXTRA_LIFETIME));
                let is_held: Result<bool, _> = cache.run(&scripts::RENEW, &names, arguments).await;
                if let Ok(false) = is_held {
                    return;
                }
            }
        };
        self.renewal = Some(tokio::spawn(renewal).abort_handle());
    }

    fn stop_renewal(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
    }

    /// Ends the lease with a script. After an error the lease is still held and renewed.
    async fn end<T: redis::FromRedisValue>(
        &mut self,
        script: &'static redis::Script,
        arguments: impl redis::ToRedisArgs,
    ) -> Result<T, CacheError> {
        // A renewal sent after the script would acquire the lease again.
        self.stop_renewal();
        let ended = self.cache.run(script, &self.names, arguments).await;
        match ended {
            Ok(_) => self.may_be_held = false,
            Err(_) => self.renew(),
        }
        ended
    }

    async fn release(&mut self) -> Result<(), CacheError> {
        let owner = self.owner.clone();
        self.end(&scripts::RELEASE, owner).await
    }
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        self.stop_renewal();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.may_be_held {
            let (cache, names, owner) = (self.cache.clone(), self.names.clone(), self.owner.clone());
            // If the release fails for the lease time, the lease has expired.
            runtime.spawn(async move {
                let start = Instant::now();
                while cache.run::<()>(&scripts::RELEASE, &names, &owner).await.is_err() {
                    if start.elapsed() >= cache.settings.lease {
                        break;
                    }
                    sleep(POLL_BACKOFF.longest()).await;
                }
            });
        }
    }
}

#[async_trait]
impl LeaseGuard for Guard {
    fn current(&self) -> Option<&AccessToken> {
        self.seen.token.as_ref()
    }

    fn is_refused(&self, token: &AccessToken) -> bool {
        let LeaseHold { cache, names, .. } = &self.hold;
        token.refresh_token().is_some_and(|refresh_token| {
            let digests = cache.settings.sealing.refusals(names, refresh_token);
            digests.iter().any(|digest| self.seen.refused.contains(digest))
        })
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        if !self.hold.may_be_held {
            return Ok(());
        }
        if let Some(refused) = self.refused_refresh_token(token) {
            return Ok(self.write_tombstone(&refused, Some(token)).await?);
        }
        let LeaseHold { cache, names, owner, number, .. } = &self.hold;
        let redeemed = self.predecessor.as_ref().and_then(AccessToken::refresh_token);
        let is_stored = self.seen.token.as_ref().is_some_and(|token| token.refresh_token().is_some());
        let version = if is_stored { self.seen.version.clone() } else { Vec::new() };
        let digests = redeemed.map(|token| cache.settings.sealing.refusals(names, token)).unwrap_or_default();
        let content = cache.entry_content(names, token)?;
        let arguments = (owner.clone(), *number, version, digests.len(), digests, content);
        let is_written: bool = self.hold.end(&scripts::PUBLISH, arguments).await?;
        if !is_written {
            tracing::debug!("the token is not stored: another process has stored a newer token or cleared the cache");
        }
        Ok(())
    }

    async fn release(mut self: Box<Self>) {
        // If this fails, dropping the hold retries it.
        let _ = self.hold.release().await;
    }

    async fn discard(mut self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        let is_seen = |seen: &AccessToken| seen.is_same(refused) && seen.refresh_token() == refused.refresh_token();
        let is_stored = self.seen.token.as_ref().is_some_and(is_seen);
        // Without an entry, the provider supplied the refused token.
        let is_from_provider = self.seen.version.is_empty() && self.predecessor.as_ref().is_some_and(is_seen);
        if !is_stored && !is_from_provider {
            return Ok(self.hold.release().await?);
        }
        if let Some(refresh_token) = refused.refresh_token() {
            return Ok(self.write_tombstone(refresh_token, None).await?);
        }
        let arguments =
            (self.hold.owner.clone(), self.seen.version.clone(), self.hold.number, EntryContent::deletion());
        Ok(self.hold.end(&scripts::DISCARD, arguments).await?)
    }
}

impl Guard {
    /// Returns the stored refresh token if `token` is the stored access token without a refresh token. A token source
    /// publishes such a token after the refresh token was refused while the access token is still valid.
    fn refused_refresh_token(&self, token: &AccessToken) -> Option<Secret> {
        let stored = self.seen.token.as_ref().filter(|stored| token.refresh_token().is_none() && stored.is_same(token));
        stored?.refresh_token().cloned()
    }

    /// Replaces the entry with a tombstone if the entry has not changed since it was read, and ends the lease.
    async fn write_tombstone(
        &mut self,
        refused: &Secret,
        remaining_token: Option<&AccessToken>,
    ) -> Result<(), CacheError> {
        let LeaseHold { cache, names, owner, number, .. } = &self.hold;
        let content = cache.tombstone(names, refused, remaining_token)?;
        let arguments = (owner.clone(), self.seen.version.clone(), *number, content);
        self.hold.end(&scripts::DISCARD, arguments).await
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Guard")
            .field("entry", &self.hold.names.entry)
            .field("fence", &self.hold.number)
            .finish_non_exhaustive()
    }
}
