//! The state machine of one key: the decisions of a token source, without time, threads or tasks.
//!
//! A caller presents the cached token, if any:
//! - fresh: it is served;
//! - stale: it is served, and an attempt is started, unless one is running or the last one failed too recently;
//! - expired, rejected, unverified or absent: a running attempt is joined; a failure in effect is returned; otherwise
//!   an attempt is started.
//!
//! Duration of a failure:
//! - a transient one: a random time between half of a bound and the bound, which doubles from 250 ms to 30 s;
//! - a refused credential: until the credential changes, but no longer than 30 s, doubling to 5 minutes, because the
//!   server may accept it again later;
//! - a token that failed verification: 5 minutes;
//! - rejections by the server: the first refresh is immediate; the next ones wait 1 s, doubling to 60 s, until a
//!   request succeeds.
//!
//! A permanently refused refresh token is never presented again. A rejected token is remembered until the cache is
//! known to hold something else, and every reader that could have read it before has finished.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use crate::token::expiry::{ExpiryPolicy, Freshness};
use crate::{AccessToken, Backoff, Secret, TokenError};

/// The duration for which a transient failure is returned without another attempt.
const TRANSIENT: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
/// The duration for which a refusal is returned without another attempt. It is not random, because the error states it.
const REFUSAL: Backoff = Backoff::new(Duration::from_secs(30), Duration::from_secs(300));
/// The delay after the second consecutive rejection, and later ones. It is not random, because the error states it.
const BRAKE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// The time for which a token that failed verification is not refreshed.
pub(crate) const VERIFICATION_PAUSE: Duration = Duration::from_secs(300);

/// The maximum number of rejected tokens that are remembered. There are several only while the cache is unavailable.
const MAX_REJECTED: usize = 8;
/// The maximum number of refused refresh tokens that are remembered.
const MAX_REFUSED: usize = 4;

/// The state of one key.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// An attempt is running.
    running: bool,
    /// The number of consecutive failures.
    failures: u32,
    /// The last failure, which may no longer be in effect.
    failure: Option<Failure>,
    /// Tokens that a server has rejected, oldest first.
    rejected: Vec<Rejected>,
    /// Refresh tokens that the provider refused permanently, oldest first.
    refused: Vec<Secret>,
    /// The token that was rejected and deleted. The next token replaces it.
    gone: Option<AccessToken>,
    /// The rejected token that is being deleted. The cache may or may not still have it.
    going: Option<AccessToken>,
    /// A copy of the last token that a remote cache returned, and the time in which it is served without reading the
    /// cache.
    local: Option<(AccessToken, Range<SystemTime>)>,
    /// The latest token obtained.
    latest: Option<AccessToken>,
    /// The token whose rejection was counted last. Many callers may report the same rejection; it counts once.
    counted: Option<AccessToken>,
    /// The number of rejected tokens since the last successful request.
    rejections: u32,
    /// The time in which no token is obtained after rejections.
    brake: Option<Range<SystemTime>>,
    /// An attempt ended after it sent a redemption and received no response.
    lost_answer: bool,
}

#[derive(Debug)]
struct Rejected {
    token: AccessToken,
    /// The cache no longer has it, but a reader may have read it before.
    settled: bool,
    /// The cache is deleting it.
    deleting: bool,
}

#[derive(Debug)]
struct Failure {
    error: TokenError,
    /// The time in which it is in effect. The start matters if the clock is set back: the failure then ends.
    time: Range<SystemTime>,
    /// The version of the refused credential.
    credential: Option<u64>,
}

/// The next step of a caller.
#[derive(Debug)]
pub(crate) enum Step {
    Serve(AccessToken),
    /// Start an attempt to replace `previous`; wait for its outcome, unless there is a token to serve.
    Start {
        serve: Option<AccessToken>,
        previous: Option<AccessToken>,
    },
    /// Wait for the outcome of the running attempt.
    Join,
    Fail(TokenError),
}

impl Flight {
    /// Returns the next step of a caller that found `cached` in the cache. After [`Step::Start`], the caller must start
    /// an attempt, and call [`finish`](Self::finish) when it ends.
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
        let failure = self.standing_failure(now, credential);
        match (serve, failure) {
            (Some(token), failure) if self.running || failure.is_some() => Step::Serve(token),
            (None, _) if self.running => Step::Join,
            (None, Some(error)) => Step::Fail(error),
            (serve, _) => {
                self.running = true;
                let previous = cached.or(self.gone.as_ref()).or(self.going.as_ref()).cloned();
                Step::Start { serve, previous }
            }
        }
    }

    /// Ends the attempt that was started with the version `credential` of the credential. `random` is from 0 to 1.
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
                (self.failures, self.failure, self.lost_answer) = (0, None, false);
                (self.gone, self.going) = (None, None);
                self.latest = Some(token.clone());
            }
            // A cancellation is not a failure of the provider.
            Err(error) if error.is_canceled() => {}
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.lost_answer |= error.is_uncertain();
                let time = match error {
                    error if error.is_refused() => REFUSAL.bound(self.failures),
                    error if error.is_final_verification() => VERIFICATION_PAUSE,
                    // At least half of the bound: callers that follow immediately must not start another attempt.
                    _ => TRANSIENT.pause(self.failures, f64::midpoint(1.0, random)),
                };
                let credential = error.is_refused().then_some(credential);
                self.failure = Some(Failure { error: error.clone(), time: now..now + time, credential });
            }
        }
    }

    /// Forgets the running attempt, which may never end.
    pub(crate) fn abandon(&mut self) {
        self.running = false;
    }

    /// Returns true if the response to an earlier redemption was lost.
    pub(crate) fn has_lost_answer(&self) -> bool {
        self.lost_answer
    }

    /// Records that a server rejected `used`: it is not served again, whatever the cache returns. Returns true if the
    /// cache must delete it; [`end_deletion`](Self::end_deletion) must follow.
    pub(crate) fn reject(&mut self, used: &AccessToken, now: SystemTime) -> bool {
        // A late rejection of an older token does not affect the newer one.
        let is_latest = self.latest.as_ref().is_none_or(|latest| latest.is_same(used));
        let is_counted = self.counted.as_ref().is_some_and(|counted| counted.is_same(used));
        if is_latest && !is_counted && !self.was_rejected(used) {
            self.counted = Some(used.clone());
            self.rejections = self.rejections.saturating_add(1);
            self.brake = self.rejections.checked_sub(1).filter(|later| *later > 0).map(|later| {
                let wait = BRAKE.bound(later);
                now..now + wait
            });
        }
        self.local.take_if(|(token, _)| token.is_same(used));
        if is_latest && self.gone.is_none() {
            self.going = Some(used.clone());
        }
        if self.rejected.iter().any(|rejected| rejected.deleting && rejected.token.is_same(used)) {
            return false;
        }
        self.rejected.retain(|rejected| !rejected.token.is_same(used));
        if self.rejected.len() == MAX_REJECTED {
            self.rejected.remove(0);
        }
        self.rejected.push(Rejected { token: used.clone(), settled: false, deleting: true });
        true
    }

    /// Records that the cache is no longer deleting `used`, whether it was deleted or not.
    pub(crate) fn end_deletion(&mut self, used: &AccessToken) {
        for rejected in self.rejected.iter_mut().filter(|rejected| rejected.token.is_same(used)) {
            rejected.deleting = false;
        }
    }

    /// Returns true if `token`, which the provider has just returned, was rejected before. It must not be served.
    pub(crate) fn reject_again(&mut self, token: &AccessToken) -> bool {
        let was_rejected = self.was_rejected(token);
        if was_rejected && !self.is_rejected(token) {
            self.rejected.push(Rejected { token: token.clone(), settled: false, deleting: false });
        }
        was_rejected
    }

    /// Records that a request with a token succeeded.
    pub(crate) fn accept(&mut self, used: &AccessToken) {
        if !self.is_rejected(used) {
            (self.rejections, self.brake) = (0, None);
        }
    }

    /// Records that the cache does not hold `used`. `deleted` is true if the cache has just deleted it, and false if
    /// the cache held another token.
    pub(crate) fn forgotten(&mut self, used: &AccessToken, deleted: bool) {
        for rejected in self.rejected.iter_mut().filter(|rejected| rejected.token.is_same(used)) {
            rejected.settled = true;
        }
        let going = self.going.take_if(|going| going.is_same(used));
        if deleted {
            self.gone = going.or_else(|| Some(used.clone()));
        }
    }

    /// Records that the cache may hold `token` again.
    pub(crate) fn restored(&mut self, token: &AccessToken) {
        for rejected in self.rejected.iter_mut().filter(|rejected| rejected.token.is_same(token)) {
            rejected.settled = false;
        }
    }

    /// Records that the cache holds `token`, and therefore no other.
    pub(crate) fn replaced(&mut self, token: &AccessToken) {
        for rejected in self.rejected.iter_mut().filter(|rejected| !rejected.token.is_same(token)) {
            rejected.settled = true;
        }
    }

    pub(crate) fn is_rejected(&self, token: &AccessToken) -> bool {
        self.rejected.iter().any(|rejected| rejected.token.is_same(token))
    }

    /// Returns true if `token` was rejected, even if the cache is known to have deleted it.
    pub(crate) fn was_rejected(&self, token: &AccessToken) -> bool {
        self.is_rejected(token) || self.gone.as_ref().is_some_and(|gone| gone.is_same(token))
    }

    /// Records that the refresh token of `token` was refused permanently.
    pub(crate) fn refuse(&mut self, token: &AccessToken) {
        if let Some(refresh_token) = token.refresh_token().filter(|_| !self.is_refused(token)) {
            if self.refused.len() == MAX_REFUSED {
                self.refused.remove(0);
            }
            self.refused.push(refresh_token.clone());
        }
    }

    /// Returns true if the refresh token of `token` was refused permanently.
    pub(crate) fn is_refused(&self, token: &AccessToken) -> bool {
        token.refresh_token().is_some_and(|refresh_token| self.refused.contains(refresh_token))
    }

    /// Removes rejected tokens that no reader can still hold.
    pub(crate) fn forget_settled(&mut self) {
        self.rejected.retain(|rejected| !rejected.settled);
    }

    /// Removes everything except tokens that must not be served or presented. Returns true if some remain.
    pub(crate) fn clear(&mut self) -> bool {
        *self = Self {
            rejected: std::mem::take(&mut self.rejected),
            refused: std::mem::take(&mut self.refused),
            ..Self::default()
        };
        !self.rejected.is_empty() || !self.refused.is_empty()
    }

    /// Stores a copy that is served for `time` without reading the remote cache.
    pub(crate) fn keep(&mut self, token: &AccessToken, now: SystemTime, time: Duration) {
        let until = now.checked_add(time).into_iter().chain(token.expires_at()).min();
        if let Some(until) = until.filter(|_| !self.is_rejected(token)) {
            self.local = Some((token.clone(), now..until));
        }
    }

    /// Returns the copy, while it may be served without reading the cache.
    pub(crate) fn local_copy(&self, now: SystemTime) -> Option<AccessToken> {
        self.local.as_ref().filter(|(_, time)| time.contains(&now)).map(|(token, _)| token.clone())
    }

    /// Returns the copy after the cache failed, unless its refresh time has passed. The copy is served for `time`; then
    /// the cache is read again.
    pub(crate) fn fall_back(&mut self, now: SystemTime, time: Duration) -> Option<AccessToken> {
        let (token, _) = self.local.clone()?;
        if is_past_refresh(&token, now) {
            return None;
        }
        self.keep(&token, now, time);
        Some(token)
    }

    /// Removes the copy of a token that the cache no longer has.
    pub(crate) fn drop_copy(&mut self) {
        self.local = None;
    }

    /// Returns true if a new flight would make the same decisions.
    pub(crate) fn is_idle(&mut self, now: SystemTime) -> bool {
        self.local.take_if(|(token, time)| is_past_refresh(token, now) && !time.contains(&now));
        !self.running
            && self.failure.is_none()
            && self.rejected.is_empty()
            && self.refused.is_empty()
            && self.gone.is_none()
            && self.going.is_none()
            && self.local.is_none()
            && self.rejections == 0
            && !self.lost_answer
    }

    fn standing_failure(&self, now: SystemTime, credential: u64) -> Option<TokenError> {
        let stands = |failure: &&Failure| {
            failure.time.contains(&now) && failure.credential.is_none_or(|version| version == credential)
        };
        let failure = self.failure.as_ref().filter(stands).map(|failure| failure.error.clone());
        failure.or_else(|| {
            let brake = self.brake.as_ref().filter(|time| time.contains(&now))?;
            Some(TokenError::braked(brake.end.duration_since(now).unwrap_or_default()))
        })
    }
}

fn is_past_refresh(token: &AccessToken, now: SystemTime) -> bool {
    token.refresh_at().or(token.expires_at()).is_some_and(|moment| moment <= now)
}
