//! The lease: one process, the leader, obtains a token for all processes that share the cache.
//!
//! Handled failures:
//! - **The leader dies.** Its lease expires, and the next process leads.
//! - **The provider takes longer than the lease time, or Redis fails before the publication.** The lease is renewed
//!   while its guard exists. Other processes wait for a limited time. A lease that Redis has lost is acquired again
//!   unless another process has acquired the lease or written the entry since.
//! - **A leader is late.** It was suspended or disconnected, its lease expired, and another process has acquired the
//!   lease since. The publication of the late leader is discarded, because its fence is not the latest.
//! - **A late leader has redeemed a refresh token.** The next leader finds the same refresh token, the server refuses
//!   it, and the leader writes a tombstone. The late publication replaces the tombstone, because it contains the only
//!   valid refresh token of the login. If it arrives before the tombstone is written, it replaces the entry with the
//!   redeemed refresh token, and the tombstone is no longer written.
//! - **The response to an acquisition is lost.** The lease may have been acquired. It is released in the background, so
//!   that no process waits for it.
//! - **All entries are cleared while a process leads.** The fence increases and tombstones are deleted, so the leader's
//!   publication is discarded.
//! - **Redis executes a renewal after the publication.** The renewal does not acquire the lease again, because the
//!   fence in the entry shows that the leader has published.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, Backoff, LeaseGuard, LeaseOutcome, RefreshLease, Secret, TokenError, TokenKey};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cache::{EntryContent, FENCE_EXTRA_LIFETIME, RedisTokenCache, milliseconds, random_fence_increment};
use crate::error::CacheError;
use crate::link::sleep;
use crate::names::KeyNames;
use crate::scripts;

/// The backoff between two polls of a lease that another process holds.
const POLL_BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(160));

/// The content of the entry when it was last read.
#[derive(Default)]
struct EntrySnapshot {
    /// The fence of the entry, or empty without an entry.
    version: Vec<u8>,
    token: Option<AccessToken>,
    is_rejected: bool,
    /// The digests of the refused refresh token, with their fields.
    refused: Vec<(String, Vec<u8>)>,
}

/// The result of [`HeldLease::try_acquire`].
enum AcquireResult {
    /// This process holds the lease.
    Acquired,
    /// Another process holds the lease. The value is the remaining lease time, or `None` if it is unknown.
    HeldByOther(Option<Duration>),
    /// The entry has changed since it was last read. The value is its current content.
    Changed(EntrySnapshot),
}

/// A lease that this process holds or may hold. Dropping this value releases the lease.
struct HeldLease {
    cache: RedisTokenCache,
    names: KeyNames,
    owner: String,
    /// The fence of the lease.
    fence: u64,
    /// False only if this process certainly does not hold the lease.
    may_be_held: bool,
    renewal: Option<AbortHandle>,
}

/// The exclusive right to obtain a token.
struct Guard {
    held_lease: HeldLease,
    snapshot: EntrySnapshot,
    /// The token to redeem: the stored token, or without one, the `previous` token of the caller.
    predecessor: Option<AccessToken>,
}

#[async_trait]
impl RefreshLease for RedisTokenCache {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        let (start, lock_timeout) = (Instant::now(), self.settings.lock_timeout);
        let mut held_lease = HeldLease::new(self, key);
        let (mut snapshot, mut polls) = (EntrySnapshot::default(), 0_u32);
        loop {
            match held_lease.try_acquire(&snapshot).await? {
                AcquireResult::Acquired => {
                    held_lease.start_renewal();
                    let predecessor = snapshot.token.as_ref().or(previous).cloned();
                    return Ok(LeaseOutcome::Acquired(Box::new(Guard { held_lease, snapshot, predecessor })));
                }
                AcquireResult::Changed(new_snapshot) => match new_snapshot.refreshed_token(self, previous) {
                    Some(token) => return Ok(LeaseOutcome::AlreadyRefreshed(token.clone())),
                    None => snapshot = new_snapshot,
                },
                AcquireResult::HeldByOther(remaining_lease) => {
                    let waited = start.elapsed();
                    let remaining_wait = lock_timeout.checked_sub(waited).filter(|time| !time.is_zero());
                    let remaining_wait = remaining_wait.ok_or_else(|| CacheError::lease_held(waited))?;
                    polls = polls.saturating_add(1);
                    let pause = POLL_BACKOFF.pause(polls, fastrand::f64());
                    sleep([Some(remaining_wait), remaining_lease].into_iter().flatten().fold(pause, Duration::min))
                        .await;
                }
            }
        }
    }
}

impl EntrySnapshot {
    /// Returns the token if another process has obtained it: it is valid and differs from `previous`.
    fn refreshed_token(&self, cache: &RedisTokenCache, previous: Option<&AccessToken>) -> Option<&AccessToken> {
        let token = self.token.as_ref().filter(|_| !self.is_rejected)?;
        let now = cache.settings.clock.now();
        let is_valid = [token.expires_at(), token.refresh_at()].into_iter().flatten().all(|moment| moment > now)
            && token.not_before().is_none_or(|not_before| not_before <= now);
        (is_valid && previous.is_none_or(|previous| !previous.is_same(token))).then_some(token)
    }
}

impl HeldLease {
    fn new(cache: &RedisTokenCache, key: &TokenKey) -> Self {
        let owner = format!("{:032x}", fastrand::u128(..));
        Self { cache: cache.clone(), names: cache.key_names(key), owner, fence: 0, may_be_held: false, renewal: None }
    }

    async fn try_acquire(&mut self, snapshot: &EntrySnapshot) -> Result<AcquireResult, CacheError> {
        type Response = (u8, i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Option<Vec<u8>>>);
        let (lease_ms, fence_ms) = (milliseconds(self.cache.settings.lease_time), milliseconds(FENCE_EXTRA_LIFETIME));
        let fields = self.cache.settings.sealing.refusal_fields();
        // Without a connection, no command is sent, so the lease cannot be acquired.
        self.may_be_held = self.cache.link.is_open();
        let arguments = (&self.owner, lease_ms, fence_ms, random_fence_increment(), &snapshot.version, &fields);
        let response: Response = self.cache.run_script(&scripts::ACQUIRE, &self.names, arguments).await?;
        let (outcome, number, version, value, rejected_value, refused) = response;
        let number = u64::try_from(number).unwrap_or_default();
        self.may_be_held = outcome == 1;
        Ok(match outcome {
            1 => {
                self.fence = number;
                AcquireResult::Acquired
            }
            0 => AcquireResult::HeldByOther(Some(Duration::from_millis(number)).filter(|time| !time.is_zero())),
            _ => {
                let is_rejected = value.is_none();
                let token =
                    value.or(rejected_value).and_then(|value| self.cache.settings.sealing.open(&self.names, value));
                let refused = fields.into_iter().zip(refused).filter_map(|(field, digest)| Some((field, digest?)));
                let (version, refused) = (version.unwrap_or_default(), refused.collect());
                AcquireResult::Changed(EntrySnapshot { version, token, is_rejected, refused })
            }
        })
    }

    /// Starts to renew the lease in the background. The renewal ends with [`stop_renewal`](Self::stop_renewal) or when
    /// `self` is dropped.
    fn start_renewal(&mut self) {
        let (cache, names, owner, fence) = (self.cache.clone(), self.names.clone(), self.owner.clone(), self.fence);
        let lease_time = self.cache.settings.lease_time;
        let renewal = async move {
            let mut ticks = interval(lease_time / 3);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let arguments = (&owner, milliseconds(lease_time), fence, milliseconds(FENCE_EXTRA_LIFETIME));
                let is_held: Result<bool, _> = cache.run_script(&scripts::RENEW, &names, arguments).await;
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

    /// Runs a script that ends the lease. After an error, the lease is still held and is renewed.
    async fn end_with_script<T: redis::FromRedisValue>(
        &mut self,
        script: &'static redis::Script,
        arguments: impl redis::ToRedisArgs,
    ) -> Result<T, CacheError> {
        // A renewal sent after the script would acquire the lease again.
        self.stop_renewal();
        let result = self.cache.run_script(script, &self.names, arguments).await;
        match result {
            Ok(_) => self.may_be_held = false,
            Err(_) => self.start_renewal(),
        }
        result
    }

    async fn release(&mut self) -> Result<(), CacheError> {
        let owner = self.owner.clone();
        self.end_with_script(&scripts::RELEASE, owner).await
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.stop_renewal();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.may_be_held {
            let (cache, names, owner) = (self.cache.clone(), self.names.clone(), self.owner.clone());
            // After the lease time, a release is unnecessary because the lease has expired.
            runtime.spawn(async move {
                let start = Instant::now();
                while cache.run_script::<()>(&scripts::RELEASE, &names, &owner).await.is_err() {
                    if start.elapsed() >= cache.settings.lease_time {
                        break;
                    }
                    sleep(POLL_BACKOFF.max_bound()).await;
                }
            });
        }
    }
}

#[async_trait]
impl LeaseGuard for Guard {
    fn current(&self) -> Option<&AccessToken> {
        self.snapshot.token.as_ref()
    }

    fn is_refused(&self, token: &AccessToken) -> bool {
        let HeldLease { cache, names, .. } = &self.held_lease;
        token.refresh_token().is_some_and(|refresh_token| {
            let digests = cache.settings.sealing.refusal_digests(names, refresh_token);
            digests.iter().any(|digest| self.snapshot.refused.contains(digest))
        })
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        if !self.held_lease.may_be_held {
            return Ok(());
        }
        if let Some(refresh_token) = self.refused_refresh_token(token) {
            return Ok(self.write_tombstone(&refresh_token, Some(token)).await?);
        }
        let HeldLease { cache, names, owner, fence, .. } = &self.held_lease;
        let redeemed_refresh_token = self.predecessor.as_ref().and_then(AccessToken::refresh_token);
        let has_stored_refresh_token =
            self.snapshot.token.as_ref().is_some_and(|token| token.refresh_token().is_some());
        let version = if has_stored_refresh_token { self.snapshot.version.clone() } else { Vec::new() };
        let digests = redeemed_refresh_token
            .map(|token| cache.settings.sealing.refusal_digests(names, token))
            .unwrap_or_default();
        let content = cache.entry_content(names, token)?;
        let arguments = (owner.clone(), *fence, version, digests.len(), digests, content);
        let is_written: bool = self.held_lease.end_with_script(&scripts::PUBLISH, arguments).await?;
        if !is_written {
            tracing::debug!("the token is not stored: another process has stored a newer token or cleared the cache");
        }
        Ok(())
    }

    async fn release(mut self: Box<Self>) {
        // If the release fails, dropping `held_lease` repeats it.
        let _ = self.held_lease.release().await;
    }

    async fn discard(mut self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        let is_refused_token =
            |token: &AccessToken| token.is_same(refused) && token.refresh_token() == refused.refresh_token();
        let is_stored = self.snapshot.token.as_ref().is_some_and(is_refused_token);
        // Without an entry, the predecessor is the token that the caller passed to `acquire`.
        let is_previous_token =
            self.snapshot.version.is_empty() && self.predecessor.as_ref().is_some_and(is_refused_token);
        if !is_stored && !is_previous_token {
            return Ok(self.held_lease.release().await?);
        }
        if let Some(refresh_token) = refused.refresh_token() {
            return Ok(self.write_tombstone(refresh_token, None).await?);
        }
        let arguments = (
            self.held_lease.owner.clone(),
            self.snapshot.version.clone(),
            self.held_lease.fence,
            EntryContent::deletion(),
        );
        Ok(self.held_lease.end_with_script(&scripts::DISCARD, arguments).await?)
    }
}

impl Guard {
    /// Returns the stored refresh token if `token` is the stored access token without a refresh token. A token source
    /// publishes such a token after the refresh token was refused while the access token is still valid.
    fn refused_refresh_token(&self, token: &AccessToken) -> Option<Secret> {
        let stored =
            self.snapshot.token.as_ref().filter(|stored| token.refresh_token().is_none() && stored.is_same(token));
        stored?.refresh_token().cloned()
    }

    /// Replaces the entry with a tombstone if the entry has not changed since it was read, and ends the lease.
    async fn write_tombstone(
        &mut self,
        refused_refresh_token: &Secret,
        valid_token: Option<&AccessToken>,
    ) -> Result<(), CacheError> {
        let HeldLease { cache, names, owner, fence, .. } = &self.held_lease;
        let content = cache.tombstone(names, refused_refresh_token, valid_token)?;
        let arguments = (owner.clone(), self.snapshot.version.clone(), *fence, content);
        self.held_lease.end_with_script(&scripts::DISCARD, arguments).await
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Guard")
            .field("entry", &self.held_lease.names.entry)
            .field("fence", &self.held_lease.fence)
            .finish_non_exhaustive()
    }
}
