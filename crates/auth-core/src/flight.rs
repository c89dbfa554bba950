//! What is going on for one key: the decisions behind both token sources, without time, threads or
//! tasks of their own.
//!
//! Decisions, case by case. A caller comes with the token that the cache has, if any:
//! - it is fresh: served;
//! - it is stale: served, and an attempt is started, unless one runs or the last failed too recently;
//! - it has expired, was rejected, or there is none: an attempt that runs is joined; a refusal that
//!   still stands is returned; otherwise an attempt is started.
//!
//! An attempt ends well: earlier failures are forgotten. It fails: the error is remembered, for a time
//! that grows with every failure, or, if the credential itself was refused, until that changes. What
//! was rejected is remembered until the cache is known to have something else, and everybody who could
//! have read it before has gone.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use crate::expiry::{ExpiryPolicy, Freshness};
use crate::{AccessToken, TokenError};

/// The shortest and the longest time that a failure is remembered.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// So many rejected tokens are remembered: there are several only while a cache does not answer.
const REJECTED: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Flight {
    running: bool,
    failures: u32,
    failure: Option<Failure>,
    /// Tokens that a server has rejected, oldest first.
    rejected: Vec<Rejected>,
    /// The token that was rejected and deleted, and that the next is to replace.
    gone: Option<AccessToken>,
    local: Option<(AccessToken, Range<SystemTime>)>,
}

#[derive(Debug)]
struct Rejected {
    token: AccessToken,
    /// The cache no longer has it, though somebody may have read it before.
    settled: bool,
}

#[derive(Debug)]
struct Failure {
    error: TokenError,
    until: Until,
}

#[derive(Debug)]
enum Until {
    /// While it is then: not later, and not earlier either, after a clock was set back.
    Moment(Range<SystemTime>),
    /// The version of the credential that was refused.
    CredentialIsNot(u64),
}

/// What a caller is to do.
#[derive(Debug)]
pub(crate) enum Step {
    Serve(AccessToken),
    /// Start an attempt to replace `previous`; wait for its outcome, unless there is a token to serve
    /// meanwhile.
    Start {
        serve: Option<AccessToken>,
        previous: Option<AccessToken>,
    },
    /// Wait for the outcome of the attempt that runs.
    Join,
    Fail(TokenError),
}

impl Flight {
    /// Decides for a caller who found `cached`. Whoever is told to start has to, and has to
    /// [`finish`](Self::finish).
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
        let refusal = self.standing_failure(now, credential).cloned();
        match (serve, refusal) {
            (Some(token), refusal) if self.running || refusal.is_some() => Step::Serve(token),
            (None, _) if self.running => Step::Join,
            (None, Some(error)) => Step::Fail(error),
            (serve, _) => {
                self.running = true;
                let previous = cached.or(self.gone.as_ref()).cloned();
                Step::Start { serve, previous }
            }
        }
    }

    /// The attempt that was started has ended so. `random` is from 0 to 1.
    pub(crate) fn finish(
        &mut self,
        outcome: &Result<AccessToken, TokenError>,
        now: SystemTime,
        credential: u64,
        random: f64,
    ) {
        self.running = false;
        match outcome {
            Ok(_) => (self.failures, self.failure, self.gone) = (0, None, None),
            // It says nothing of the provider.
            Err(error) if error.is_aborted() => {}
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                let until = if error.is_refused() {
                    Until::CredentialIsNot(credential)
                } else {
                    Until::Moment(now..now + backoff(self.failures, random))
                };
                self.failure = Some(Failure { error: error.clone(), until });
            }
        }
    }

    /// A server has rejected `used`: it is not served again, whatever the cache says.
    pub(crate) fn reject(&mut self, used: &AccessToken) {
        self.local.take_if(|(token, _)| token.is_same(used));
        self.rejected.retain(|rejected| !rejected.token.is_same(used));
        if self.rejected.len() == REJECTED {
            self.rejected.remove(0);
        }
        self.rejected.push(Rejected { token: used.clone(), settled: false });
    }

    /// The cache does not have `used`: because it was `deleted` just now, or had something else.
    pub(crate) fn forgotten(&mut self, used: &AccessToken, deleted: bool) {
        for rejected in self.rejected.iter_mut().filter(|rejected| rejected.token.is_same(used)) {
            rejected.settled = true;
        }
        if deleted {
            self.gone = Some(used.clone());
        }
    }

    /// The cache has `token`, and so no other.
    pub(crate) fn replaced(&mut self, token: &AccessToken) {
        for rejected in self.rejected.iter_mut().filter(|rejected| !rejected.token.is_same(token)) {
            rejected.settled = true;
        }
    }

    pub(crate) fn is_rejected(&self, token: &AccessToken) -> bool {
        self.rejected.iter().any(|rejected| rejected.token.is_same(token))
    }

    /// Everybody who could have read a token before it was rejected has gone.
    pub(crate) fn forget_settled(&mut self) {
        self.rejected.retain(|rejected| !rejected.settled);
    }

    /// Forgets everything but what must not be served; says whether there is any.
    pub(crate) fn clear(&mut self) -> bool {
        *self = Self { rejected: std::mem::take(&mut self.rejected), ..Self::default() };
        !self.rejected.is_empty()
    }

    /// Keeps a copy for a short time, so that a remote cache is not asked on every call.
    pub(crate) fn keep(&mut self, token: &AccessToken, now: SystemTime, time: Duration) {
        let until = now.checked_add(time).into_iter().chain(token.expires_at()).min();
        if let Some(until) = until.filter(|_| !self.is_rejected(token)) {
            self.local = Some((token.clone(), now..until));
        }
    }

    /// The copy, while its time lasts.
    pub(crate) fn kept(&mut self, now: SystemTime) -> Option<AccessToken> {
        self.local.take_if(|(_, time)| !time.contains(&now));
        self.local.as_ref().map(|(token, _)| token.clone())
    }

    /// Nothing is known that a new flight would not know.
    pub(crate) fn is_idle(&mut self, now: SystemTime) -> bool {
        !self.running
            && self.failure.is_none()
            && self.rejected.is_empty()
            && self.gone.is_none()
            && self.kept(now).is_none()
    }

    fn standing_failure(&self, now: SystemTime, credential: u64) -> Option<&TokenError> {
        let failure = self.failure.as_ref()?;
        let stands = match &failure.until {
            Until::Moment(time) => time.contains(&now),
            Until::CredentialIsNot(version) => credential == *version,
        };
        stands.then_some(&failure.error)
    }
}

/// Doubles with every failure; chance takes up to half of it, so that many do not come back at once.
fn backoff(failures: u32, random: f64) -> Duration {
    let doubled = BACKOFF.0.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(BACKOFF.1).mul_f64(1.0 - random / 2.0)
}
