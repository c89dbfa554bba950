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
//! - a refused credential: until the credential changes, but at most 30 s, doubling to 5 minutes, because the server may
//!   accept the credential again later;
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
/// The time for which no token is obtained after the second consecutive rejection, and after later ones. It is not
/// random, because the error message states it.
const REJECTION_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// The time for which a token that failed verification is not refreshed.
pub(crate) const VERIFICATION_PAUSE: Duration = Duration::from_secs(300);

/// The maximum number of rejected tokens that are remembered. More than one is remembered only while the cache is
/// unavailable.
const MAX_REJECTED: usize = 8;
/// The maximum number of refused refresh tokens that are remembered.
const MAX_REFUSED: usize = 4;

/// The state of one key.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// True while an attempt is running.
    running: bool,
    /// The number of consecutive failed attempts.
    failures: u32,
    /// The last failure, which may no longer be in effect.
    failure: Option<Failure>,
    /// Tokens that a server has rejected, oldest first.
    rejected: Vec<Rejected>,
    /// Refresh tokens that the provider refused permanently, oldest first.
    refused: Vec<Secret>,
    /// The token that was rejected, and that the cache has deleted. The next attempt replaces it.
    deleted: Option<AccessToken>,
    /// The token that was rejected, and that the cache is deleting. The cache may still return it.
    being_deleted: Option<AccessToken>,
    /// A copy of the last token that a remote cache returned, and the time in which the copy is served without reading
    /// the cache.
    local: Option<(AccessToken, Range<SystemTime>)>,
    /// The token of the last successful attempt.
    latest: Option<AccessToken>,
    /// The token whose rejection was counted last. Many callers may report the same rejection, which counts once.
    counted: Option<AccessToken>,
    /// The number of tokens that were rejected since the last successful request.
    rejections: u32,
    /// The time in which no token is obtained, because several tokens were rejected.
    rejection_pause: Option<Range<SystemTime>>,
    /// True if an attempt sent a single-use credential and received no response.
    lost_response: bool,
}

#[derive(Debug)]
struct Rejected {
    token: AccessToken,
    /// True if the cache no longer contains the token. A reader may have read it before.
    is_uncached: bool,
    /// True while the cache is deleting the token.
    is_being_deleted: bool,
}

#[derive(Debug)]
struct Failure {
    error: TokenError,
    /// The time in which the failure is in effect. If the clock is set back to before the start, the failure ends.
    in_effect: Range<SystemTime>,
    /// The version of the refused credential, or `None` for a failure of another kind.
    credential: Option<u64>,
}

/// The next step of a caller.
#[derive(Debug)]
pub(crate) enum Step {
    Serve(AccessToken),
    /// Start an attempt that replaces `previous`. Return `serve` if it is a token; otherwise wait for the outcome.
    Start {
        serve: Option<AccessToken>,
        previous: Option<AccessToken>,
    },
    /// Wait for the outcome of the running attempt.
    Join,
    Fail(TokenError),
}

impl Flight {
    /// Returns the next step of a caller that found `cached` in the cache. `credential` is the current version of the
    /// provider's credential. After [`Step::Start`], the caller must start an attempt, and call [`finish`](Self::finish)
    /// when the attempt ends.
    pub(crate) fn step(
        &mut self,
        cached: Option<&AccessToken>,
        now: SystemTime,
        credential: u64,
        policy: &ExpiryPolicy,
    ) -> Step {
        let usable = cached.filter(|token| !self.is_rejected(token));
        let serve = match usable.map(|token| (policy.freshness(token, now), token)) {
            Some((Freshness::Fresh, token)) => return Step::Serve(token.clone()),
            Some((Freshness::Stale, token)) => Some(token.clone()),
            Some((Freshness::Expired, _)) | None => None,
        };
        let failure = self.failure_in_effect(now, credential);
        match (serve, failure) {
            (Some(token), failure) if self.running || failure.is_some() => Step::Serve(token),
            (None, _) if self.running => Step::Join,
            (None, Some(error)) => Step::Fail(error),
            (serve, _) => {
                self.running = true;
                let previous = cached.or(self.deleted.as_ref()).or(self.being_deleted.as_ref()).cloned();
                Step::Start { serve, previous }
            }
        }
    }

    /// Records the outcome of an attempt. `credential` is the version of the provider's credential when the attempt
    /// started. `random` is a random number from 0 to 1.
    pub(crate) fn finish(
        &mut self,
        outcome: &Result<AccessToken, TokenError>,
        now: SystemTime,
        credential: u64,
        random: f64,
    ) {
        self.running = false;
        match outcome {
            Ok(token) => {
                (self.failures, self.failure, self.lost_response) = (0, None, false);
                (self.deleted, self.being_deleted) = (None, None);
                self.latest = Some(token.clone());
            }
            // A cancellation is not a failure of the provider.
            Err(error) if error.is_canceled() => {}
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.lost_response |= error.is_uncertain();
                let duration = match error {
                    error if error.is_refused() => REFUSAL_BACKOFF.bound(self.failures),
                    error if error.is_final_verification() => VERIFICATION_PAUSE,
                    // At least half of the bound, so that callers that follow immediately do not start another attempt.
                    _ => TRANSIENT_BACKOFF.pause(self.failures, f64::midpoint(1.0, random)),
                };
                let credential = error.is_refused().then_some(credential);
                self.failure = Some(Failure { error: error.clone(), in_effect: now..now + duration, credential });
            }
        }
    }

    /// Allows another attempt to start, because the running one may never end.
    pub(crate) fn abandon(&mut self) {
        self.running = false;
    }

    /// Returns true if the response to an earlier redemption was lost.
    pub(crate) fn has_lost_response(&self) -> bool {
        self.lost_response
    }

    /// Records that a server rejected `used`. The token is not served again, even if the cache still returns it. Returns
    /// true if the caller must delete the token from the cache, and then call [`end_deletion`](Self::end_deletion).
    pub(crate) fn reject(&mut self, used: &AccessToken, now: SystemTime) -> bool {
        // A late rejection of an older token does not affect the newer one.
        let is_latest = self.latest.as_ref().is_none_or(|latest| latest.is_same(used));
        let is_counted = self.counted.as_ref().is_some_and(|counted| counted.is_same(used));
        if is_latest && !is_counted && !self.was_rejected(used) {
            self.counted = Some(used.clone());
            self.rejections = self.rejections.saturating_add(1);
            self.rejection_pause = self.rejections.checked_sub(1).filter(|repeated| *repeated > 0).map(|repeated| {
                let duration = REJECTION_BACKOFF.bound(repeated);
                now..now + duration
            });
        }
        self.local.take_if(|(token, _)| token.is_same(used));
        if is_latest && self.deleted.is_none() {
            self.being_deleted = Some(used.clone());
        }
        if self.rejected.iter().any(|rejected| rejected.is_being_deleted && rejected.token.is_same(used)) {
            return false;
        }
        self.rejected.retain(|rejected| !rejected.token.is_same(used));
        if self.rejected.len() == MAX_REJECTED {
            self.rejected.remove(0);
        }
        self.rejected.push(Rejected { token: used.clone(), is_uncached: false, is_being_deleted: true });
        true
    }

    /// Records that the deletion of `used` has ended, successfully or not.
    pub(crate) fn end_deletion(&mut self, used: &AccessToken) {
        for rejected in self.rejected.iter_mut().filter(|rejected| rejected.token.is_same(used)) {
            rejected.is_being_deleted = false;
        }
    }

    /// Returns true if `token`, which the provider has just returned, was rejected before, and marks it as rejected
    /// again. It must not be served.
    pub(crate) fn reject_if_known(&mut self, token: &AccessToken) -> bool {
        let was_rejected = self.was_rejected(token);
        if was_rejected && !self.is_rejected(token) {
            self.rejected.push(Rejected { token: token.clone(), is_uncached: false, is_being_deleted: false });
        }
        was_rejected
    }

    /// Records that a request with a token succeeded.
    pub(crate) fn accept(&mut self, used: &AccessToken) {
        if !self.is_rejected(used) {
            (self.rejections, self.rejection_pause) = (0, None);
        }
    }

    /// Records that the cache does not contain `used`. `was_deleted` is true if the cache has just deleted it, and false
    /// if the cache contained another token or none.
    pub(crate) fn mark_uncached(&mut self, used: &AccessToken, was_deleted: bool) {
        for rejected in self.rejected.iter_mut().filter(|rejected| rejected.token.is_same(used)) {
            rejected.is_uncached = true;
        }
        let being_deleted = self.being_deleted.take_if(|token| token.is_same(used));
        if was_deleted {
            self.deleted = being_deleted.or_else(|| Some(used.clone()));
        }
    }

    /// Records that the cache may contain `token`, because it is about to be stored.
    pub(crate) fn mark_possibly_cached(&mut self, token: &AccessToken) {
        for rejected in self.rejected.iter_mut().filter(|rejected| rejected.token.is_same(token)) {
            rejected.is_uncached = false;
        }
    }

    /// Records that the cache contains `token`, and therefore no other token under this key.
    pub(crate) fn mark_cached(&mut self, token: &AccessToken) {
        for rejected in self.rejected.iter_mut().filter(|rejected| !rejected.token.is_same(token)) {
            rejected.is_uncached = true;
        }
    }

    /// Returns true if `token` was rejected, and the cache or a reader may still return it.
    pub(crate) fn is_rejected(&self, token: &AccessToken) -> bool {
        self.rejected.iter().any(|rejected| rejected.token.is_same(token))
    }

    /// Returns true if `token` was rejected, even if the cache has deleted it.
    pub(crate) fn was_rejected(&self, token: &AccessToken) -> bool {
        self.is_rejected(token) || self.deleted.as_ref().is_some_and(|deleted| deleted.is_same(token))
    }

    /// Records that the refresh token of `token` was permanently refused.
    pub(crate) fn refuse(&mut self, token: &AccessToken) {
        if let Some(refresh_token) = token.refresh_token().filter(|_| !self.is_refused(token)) {
            if self.refused.len() == MAX_REFUSED {
                self.refused.remove(0);
            }
            self.refused.push(refresh_token.clone());
        }
    }

    /// Returns true if the refresh token of `token` was permanently refused.
    pub(crate) fn is_refused(&self, token: &AccessToken) -> bool {
        token.refresh_token().is_some_and(|refresh_token| self.refused.contains(refresh_token))
    }

    /// Forgets rejected tokens that the cache no longer contains. Call it only while nothing reads the cache, because a
    /// reader may have read such a token before it was deleted.
    pub(crate) fn forget_uncached(&mut self) {
        self.rejected.retain(|rejected| !rejected.is_uncached);
    }

    /// Removes all state except the rejected tokens and the refused refresh tokens. Returns true if there are any.
    pub(crate) fn clear(&mut self) -> bool {
        *self = Self {
            rejected: std::mem::take(&mut self.rejected),
            refused: std::mem::take(&mut self.refused),
            ..Self::default()
        };
        !self.rejected.is_empty() || !self.refused.is_empty()
    }

    /// Stores a copy of `token`, which is served for `duration` without reading the remote cache, but not after its
    /// expiry.
    pub(crate) fn keep_copy(&mut self, token: &AccessToken, now: SystemTime, duration: Duration) {
        let until = now.checked_add(duration).into_iter().chain(token.expires_at()).min();
        if let Some(until) = until.filter(|_| !self.is_rejected(token)) {
            self.local = Some((token.clone(), now..until));
        }
    }

    /// Returns the copy, if it may be served now without reading the cache.
    pub(crate) fn local_copy(&self, now: SystemTime) -> Option<AccessToken> {
        self.local.as_ref().filter(|(_, validity)| validity.contains(&now)).map(|(token, _)| token.clone())
    }

    /// Returns the copy after a failure of the cache, unless its refresh time has passed. The copy is then served for
    /// another `duration` before the cache is read again.
    pub(crate) fn extend_copy(&mut self, now: SystemTime, duration: Duration) -> Option<AccessToken> {
        let (token, _) = self.local.clone()?;
        if is_past_refresh(&token, now) {
            return None;
        }
        self.keep_copy(&token, now, duration);
        Some(token)
    }

    /// Removes the copy, because the cache no longer contains a token.
    pub(crate) fn drop_copy(&mut self) {
        self.local = None;
    }

    /// Returns true if this flight can be removed, because a new one would make the same decisions.
    pub(crate) fn is_idle(&mut self, now: SystemTime) -> bool {
        self.local.take_if(|(token, validity)| is_past_refresh(token, now) && !validity.contains(&now));
        !self.running
            && self.failure.is_none()
            && self.rejected.is_empty()
            && self.refused.is_empty()
            && self.deleted.is_none()
            && self.being_deleted.is_none()
            && self.local.is_none()
            && self.rejections == 0
            && !self.lost_response
    }

    fn failure_in_effect(&self, now: SystemTime, credential: u64) -> Option<TokenError> {
        let is_in_effect = |failure: &&Failure| {
            failure.in_effect.contains(&now) && failure.credential.is_none_or(|version| version == credential)
        };
        let failure = self.failure.as_ref().filter(is_in_effect).map(|failure| failure.error.clone());
        failure.or_else(|| {
            let pause = self.rejection_pause.as_ref().filter(|pause| pause.contains(&now))?;
            Some(TokenError::rejection_pause(pause.end.duration_since(now).unwrap_or_default()))
        })
    }
}

fn is_past_refresh(token: &AccessToken, now: SystemTime) -> bool {
    token.refresh_at().or(token.expires_at()).is_some_and(|refresh_at| refresh_at <= now)
}
