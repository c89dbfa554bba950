//! The state machine of one key: the decisions of a token source, without time, threads or tasks.
//!
//! A caller passes the token that it found in the cache. The next step depends on that token:
//! - fresh: it is served;
//! - stale: it is served, and an attempt is started, unless one is running or a failure is in effect;
//! - expired, rejected, unverified or missing: a running attempt is joined; otherwise, a failure that is in effect is
//!   returned; otherwise, an attempt is started.
//!
//! A failure is in effect, and prevents another attempt, for this time:
//! - a transient failure: a random time between half of a bound and the bound, which doubles from 250 ms to 30 s;
//! - a refused credential: until the credential changes, but at most 30 s, doubling to 5 minutes, because the server
//!   may accept the credential again later;
//! - a token that failed verification: 5 minutes;
//! - rejections by the server: the first refresh is immediate; the next ones wait 1 s, doubling to 60 s, until a
//!   request succeeds.
//!
//! A permanently refused refresh token is never presented again. A rejected token is remembered until the cache no
//! longer contains it, and until every reader that may have read it before has finished.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use crate::token::expiry::{ExpiryPolicy, Freshness};
use crate::{AccessToken, Backoff, Secret, TokenError};

/// The bound of the random time for which a transient failure is in effect.
const TRANSIENT_BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
/// The time for which a refusal is in effect. It is not random, because the error message states it.
const REFUSAL_BACKOFF: Backoff = Backoff::new(Duration::from_secs(30), Duration::from_secs(300));
/// The time for which no token is obtained after the second consecutive rejection and each later one. It is not random,
/// because the error message states it.
const REJECTION_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// The time for which a token that failed verification is not refreshed.
pub(crate) const VERIFICATION_PAUSE: Duration = Duration::from_secs(300);

/// The maximum number of rejected tokens that are remembered. More than one is remembered only while the cache is
/// unavailable.
const MAX_REJECTED_TOKENS: usize = 8;
/// The maximum number of refused refresh tokens that are remembered.
const MAX_REFUSED_TOKENS: usize = 4;

/// The state of one key.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// True while an attempt is running.
    is_running: bool,
    /// The number of consecutive failed attempts.
    failure_count: u32,
    /// The last failure, which may no longer be in effect.
    last_failure: Option<Failure>,
    /// Tokens that a server has rejected, oldest first.
    rejected_tokens: Vec<RejectedToken>,
    /// Refresh tokens that the provider refused permanently, oldest first.
    refused_refresh_tokens: Vec<Secret>,
    /// The token that was rejected, and that the cache has deleted. The next attempt replaces it.
    deleted_token: Option<AccessToken>,
    /// The token that was rejected, and that the cache is deleting. The cache may still return it.
    token_being_deleted: Option<AccessToken>,
    /// A copy of the last token that a remote cache returned, and the time in which the copy is served without reading
    /// the cache.
    local_copy: Option<(AccessToken, Range<SystemTime>)>,
    /// The token of the last successful attempt.
    latest_token: Option<AccessToken>,
    /// The token whose rejection was counted last. Many callers may report the same rejection, which counts once.
    last_counted_token: Option<AccessToken>,
    /// The number of tokens that were rejected since the last successful request.
    rejection_count: u32,
    /// The time in which no token is obtained, because several tokens were rejected.
    rejection_pause: Option<Range<SystemTime>>,
    /// True if an attempt sent a single-use credential and received no response.
    has_lost_response: bool,
}

#[derive(Debug)]
struct RejectedToken {
    token: AccessToken,
    /// True if the cache no longer contains the token. A reader may have read it before.
    is_uncached: bool,
    /// True while the cache is deleting the token.
    is_being_deleted: bool,
}

#[derive(Debug)]
struct Failure {
    error: TokenError,
    /// The period in which the failure prevents another attempt. The failure also ends if the clock is set back to
    /// before the start of the period.
    effective_period: Range<SystemTime>,
    /// The version of the refused credential, or `None` for a failure of another kind.
    credential_version: Option<u64>,
}

/// The next step of a caller.
#[derive(Debug)]
pub(crate) enum Step {
    Serve(AccessToken),
    /// Start an attempt that replaces `previous`. Serve `stale_token` if there is one; otherwise, wait for the outcome.
    Start {
        stale_token: Option<AccessToken>,
        previous: Option<AccessToken>,
    },
    /// Wait for the outcome of the running attempt.
    Join,
    Fail(TokenError),
}

impl Flight {
    /// Returns the next step of a caller that found `cached` in the cache. `credential_version` is the current version
    /// of the provider's credential. After [`Step::Start`], the caller must start an attempt, and call
    /// [`finish_attempt`](Self::finish_attempt) when the attempt ends.
    pub(crate) fn next_step(
        &mut self,
        cached: Option<&AccessToken>,
        now: SystemTime,
        credential_version: u64,
        policy: &ExpiryPolicy,
    ) -> Step {
        let usable_token = cached.filter(|token| !self.is_rejected(token));
        let stale_token = match usable_token.map(|token| (policy.freshness(token, now), token)) {
            Some((Freshness::Fresh, token)) => return Step::Serve(token.clone()),
            Some((Freshness::Stale, token)) => Some(token.clone()),
            Some((Freshness::Expired, _)) | None => None,
        };
        let failure = self.failure_in_effect(now, credential_version);
        match (stale_token, failure) {
            (Some(token), failure) if self.is_running || failure.is_some() => Step::Serve(token),
            (None, _) if self.is_running => Step::Join,
            (None, Some(error)) => Step::Fail(error),
            (stale_token, _) => {
                self.is_running = true;
                let previous = cached.or(self.deleted_token.as_ref()).or(self.token_being_deleted.as_ref()).cloned();
                Step::Start { stale_token, previous }
            }
        }
    }

    /// Records the outcome of an attempt. `credential_version` is the version of the provider's credential when the
    /// attempt started. `random` is a random number from 0 to 1.
    pub(crate) fn finish_attempt(
        &mut self,
        outcome: &Result<AccessToken, TokenError>,
        now: SystemTime,
        credential_version: u64,
        random: f64,
    ) {
        self.is_running = false;
        match outcome {
            Ok(token) => {
                (self.failure_count, self.last_failure, self.has_lost_response) = (0, None, false);
                (self.deleted_token, self.token_being_deleted) = (None, None);
                self.latest_token = Some(token.clone());
            }
            // A cancellation is not a failure of the provider.
            Err(error) if error.is_canceled() => {}
            Err(error) => {
                self.failure_count = self.failure_count.saturating_add(1);
                self.has_lost_response |= error.is_uncertain();
                let duration = match error {
                    error if error.is_refused() => REFUSAL_BACKOFF.bound(self.failure_count),
                    error if error.is_verification_failure() => VERIFICATION_PAUSE,
                    // At least half of the bound, so that callers that follow immediately do not start another attempt.
                    _ => TRANSIENT_BACKOFF.pause(self.failure_count, f64::midpoint(1.0, random)),
                };
                let credential_version = error.is_refused().then_some(credential_version);
                let effective_period = now..now + duration;
                self.last_failure = Some(Failure { error: error.clone(), effective_period, credential_version });
            }
        }
    }

    /// Allows another attempt to start, because the running one may never end.
    pub(crate) fn abandon_attempt(&mut self) {
        self.is_running = false;
    }

    /// Returns true if the response to an earlier redemption was lost.
    pub(crate) fn has_lost_response(&self) -> bool {
        self.has_lost_response
    }

    /// Records that a server rejected `used_token`. The token is not served again, even if the cache still returns it.
    /// Returns true if the caller must delete the token from the cache, and then call
    /// [`end_deletion`](Self::end_deletion).
    pub(crate) fn reject(&mut self, used_token: &AccessToken, now: SystemTime) -> bool {
        // A late rejection of an older token does not affect the newer one.
        let is_latest = self.latest_token.as_ref().is_none_or(|latest_token| latest_token.is_same(used_token));
        let is_counted = self.last_counted_token.as_ref().is_some_and(|counted| counted.is_same(used_token));
        if is_latest && !is_counted && !self.was_rejected(used_token) {
            self.last_counted_token = Some(used_token.clone());
            self.rejection_count = self.rejection_count.saturating_add(1);
            let repetitions = self.rejection_count.saturating_sub(1);
            self.rejection_pause = (repetitions > 0).then(|| now..now + REJECTION_BACKOFF.bound(repetitions));
        }
        self.local_copy.take_if(|(token, _)| token.is_same(used_token));
        if is_latest && self.deleted_token.is_none() {
            self.token_being_deleted = Some(used_token.clone());
        }
        if self.rejected_tokens.iter().any(|rejected| rejected.is_being_deleted && rejected.token.is_same(used_token)) {
            return false;
        }
        self.rejected_tokens.retain(|rejected| !rejected.token.is_same(used_token));
        if self.rejected_tokens.len() == MAX_REJECTED_TOKENS {
            self.rejected_tokens.remove(0);
        }
        let token = used_token.clone();
        self.rejected_tokens.push(RejectedToken { token, is_uncached: false, is_being_deleted: true });
        true
    }

    /// Records that the deletion of `used_token` has ended, successfully or not.
    pub(crate) fn end_deletion(&mut self, used_token: &AccessToken) {
        for rejected in self.rejected_tokens.iter_mut().filter(|rejected| rejected.token.is_same(used_token)) {
            rejected.is_being_deleted = false;
        }
    }

    /// Returns true if `token`, which the provider has just returned, was rejected before. Such a token must not be
    /// served, and is marked as rejected again.
    pub(crate) fn reject_again_if_rejected_before(&mut self, token: &AccessToken) -> bool {
        let was_rejected = self.was_rejected(token);
        if was_rejected && !self.is_rejected(token) {
            let token = token.clone();
            self.rejected_tokens.push(RejectedToken { token, is_uncached: false, is_being_deleted: false });
        }
        was_rejected
    }

    /// Records that a request with a token succeeded.
    pub(crate) fn accept(&mut self, used_token: &AccessToken) {
        if !self.is_rejected(used_token) {
            (self.rejection_count, self.rejection_pause) = (0, None);
        }
    }

    /// Records that the cache does not contain `used_token`. `was_deleted` is true if the cache has just deleted it,
    /// and false if the cache contained another token or none.
    pub(crate) fn mark_uncached(&mut self, used_token: &AccessToken, was_deleted: bool) {
        for rejected in self.rejected_tokens.iter_mut().filter(|rejected| rejected.token.is_same(used_token)) {
            rejected.is_uncached = true;
        }
        let token_being_deleted = self.token_being_deleted.take_if(|token| token.is_same(used_token));
        if was_deleted {
            self.deleted_token = token_being_deleted.or_else(|| Some(used_token.clone()));
        }
    }

    /// Records that the cache may contain `token`, because it is about to be stored.
    pub(crate) fn mark_possibly_cached(&mut self, token: &AccessToken) {
        for rejected in self.rejected_tokens.iter_mut().filter(|rejected| rejected.token.is_same(token)) {
            rejected.is_uncached = false;
        }
    }

    /// Records that the cache contains `token`, and therefore no other token under this key.
    pub(crate) fn record_cached_token(&mut self, token: &AccessToken) {
        for rejected in self.rejected_tokens.iter_mut().filter(|rejected| !rejected.token.is_same(token)) {
            rejected.is_uncached = true;
        }
    }

    /// Returns true if `token` was rejected, and the cache or a reader may still return it.
    pub(crate) fn is_rejected(&self, token: &AccessToken) -> bool {
        self.rejected_tokens.iter().any(|rejected| rejected.token.is_same(token))
    }

    /// Returns true if `token` was rejected, even if the cache has deleted it.
    pub(crate) fn was_rejected(&self, token: &AccessToken) -> bool {
        self.is_rejected(token) || self.deleted_token.as_ref().is_some_and(|deleted| deleted.is_same(token))
    }

    /// Records that the refresh token of `token` was permanently refused.
    pub(crate) fn refuse(&mut self, token: &AccessToken) {
        if let Some(refresh_token) = token.refresh_token().filter(|_| !self.is_refused(token)) {
            if self.refused_refresh_tokens.len() == MAX_REFUSED_TOKENS {
                self.refused_refresh_tokens.remove(0);
            }
            self.refused_refresh_tokens.push(refresh_token.clone());
        }
    }

    /// Returns true if the refresh token of `token` was permanently refused.
    pub(crate) fn is_refused(&self, token: &AccessToken) -> bool {
        token.refresh_token().is_some_and(|refresh_token| self.refused_refresh_tokens.contains(refresh_token))
    }

    /// Forgets rejected tokens that the cache no longer contains. Call it only while no task reads the cache, because a
    /// reader may have read such a token before it was deleted.
    pub(crate) fn forget_uncached(&mut self) {
        self.rejected_tokens.retain(|rejected| !rejected.is_uncached);
    }

    /// Removes all state except the rejected tokens and the refused refresh tokens. Returns true if any of them remain.
    pub(crate) fn clear(&mut self) -> bool {
        *self = Self {
            rejected_tokens: std::mem::take(&mut self.rejected_tokens),
            refused_refresh_tokens: std::mem::take(&mut self.refused_refresh_tokens),
            ..Self::default()
        };
        !self.rejected_tokens.is_empty() || !self.refused_refresh_tokens.is_empty()
    }

    /// Keeps a copy of `token`. The copy is served for `duration` without reading the remote cache, but not after its
    /// expiry.
    pub(crate) fn keep_copy(&mut self, token: &AccessToken, now: SystemTime, duration: Duration) {
        let copy_end = now.checked_add(duration).into_iter().chain(token.expires_at()).min();
        if let Some(copy_end) = copy_end.filter(|_| !self.is_rejected(token)) {
            self.local_copy = Some((token.clone(), now..copy_end));
        }
    }

    /// Returns the copy, if it may be served now without reading the cache.
    pub(crate) fn local_copy(&self, now: SystemTime) -> Option<AccessToken> {
        self.local_copy.as_ref().filter(|(_, validity)| validity.contains(&now)).map(|(token, _)| token.clone())
    }

    /// Returns the copy after a failure of the cache, unless its refresh time has passed. The copy is then served for
    /// another `duration` before the cache is read again.
    pub(crate) fn extend_copy(&mut self, now: SystemTime, duration: Duration) -> Option<AccessToken> {
        let (token, _) = self.local_copy.clone()?;
        if is_refresh_due(&token, now) {
            return None;
        }
        self.keep_copy(&token, now, duration);
        Some(token)
    }

    /// Removes the copy, because the cache no longer contains a token.
    pub(crate) fn drop_copy(&mut self) {
        self.local_copy = None;
    }

    /// Returns true if this flight can be removed, because a new one would make the same decisions.
    pub(crate) fn is_idle(&mut self, now: SystemTime) -> bool {
        self.local_copy.take_if(|(token, validity)| is_refresh_due(token, now) && !validity.contains(&now));
        !self.is_running
            && self.last_failure.is_none()
            && self.rejected_tokens.is_empty()
            && self.refused_refresh_tokens.is_empty()
            && self.deleted_token.is_none()
            && self.token_being_deleted.is_none()
            && self.local_copy.is_none()
            && self.rejection_count == 0
            && !self.has_lost_response
    }

    fn failure_in_effect(&self, now: SystemTime, credential_version: u64) -> Option<TokenError> {
        let is_in_effect = |failure: &&Failure| {
            failure.effective_period.contains(&now)
                && failure.credential_version.is_none_or(|version| version == credential_version)
        };
        let failure = self.last_failure.as_ref().filter(is_in_effect).map(|failure| failure.error.clone());
        failure.or_else(|| {
            let pause = self.rejection_pause.as_ref().filter(|pause| pause.contains(&now))?;
            Some(TokenError::rejection_pause(pause.end.duration_since(now).unwrap_or_default()))
        })
    }
}

fn is_refresh_due(token: &AccessToken, now: SystemTime) -> bool {
    token.refresh_at().or(token.expires_at()).is_some_and(|refresh_at| refresh_at <= now)
}
