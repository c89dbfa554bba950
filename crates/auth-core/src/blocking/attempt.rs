use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Inner, Outcome, Pending};
use crate::sync::{Arc, PoisonError, thread};
use crate::{AccessToken, TokenError, TokenKey, TokenRequest};

/// One attempt to obtain a token, for all who wait for it. However it ends, it is announced.
pub(super) struct Attempt {
    inner: Arc<Inner>,
    key: TokenKey,
    request: TokenRequest,
    /// The token that is to be replaced.
    previous: Option<AccessToken>,
    /// When it was started: what it obtains is not kept after everything was cleared.
    epoch: u64,
    /// The version of the credential then: if it is refused, that says nothing of a later one.
    credential: u64,
    pending: Arc<Pending>,
}

impl Attempt {
    pub(super) fn new(
        inner: &Arc<Inner>,
        key: &TokenKey,
        request: &TokenRequest,
        previous: Option<AccessToken>,
        (epoch, credential): (u64, u64),
    ) -> Self {
        let (inner, key, request) = (inner.clone(), key.clone(), request.clone());
        Self { inner, key, request, previous, epoch, credential, pending: Arc::default() }
    }

    /// Where its end is announced.
    pub(super) fn outcome(&self) -> Arc<Pending> {
        self.pending.clone()
    }

    /// Lets the attempt run apart from its callers; on the thread of the caller if there is no other.
    pub(super) fn spawn(self) {
        let attempt = Arc::new(self);
        let running = attempt.clone();
        if thread::Builder::new().name("access token".to_owned()).spawn(move || running.run()).is_err() {
            attempt.run();
        }
    }

    fn run(&self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.obtain())).unwrap_or_else(|_| Err(TokenError::panicked()));
        if let Err(error) = &outcome {
            tracing::debug!(error = error as &dyn std::error::Error, "no access token could be obtained");
        }
        self.inner.flights.with(&self.key, |slot, epoch| {
            if epoch == self.epoch {
                slot.flight.finish(&outcome, self.inner.clock.now(), self.credential, fastrand::f64());
                slot.attempt = None;
            }
        });
        self.pending.announce(outcome);
        self.inner.tidy(&self.key);
    }

    fn obtain(&self) -> Outcome {
        let kept = self.inner.look_up(&self.key, self.epoch);
        if let Some(token) = kept.as_ref().filter(|token| self.is_news(token)) {
            self.inner.replaced(&self.key, token, self.epoch);
            return Ok(token.clone());
        }
        tracing::debug!(issuer = self.key.issuer(), "obtaining an access token");
        let token = match kept.as_ref().or(self.previous.as_ref()) {
            Some(previous) => self.inner.provider.refresh(&self.request, previous),
            None => self.inner.provider.fetch(&self.request),
        };
        let token = self.inner.expiry.settle(token?, self.inner.clock.now(), fastrand::f64())?;
        self.store(&token);
        Ok(token)
    }

    /// Whether a token is better than the one that is to be replaced.
    fn is_news(&self, token: &AccessToken) -> bool {
        let known = self.previous.as_ref().is_some_and(|previous| previous.is_same(token));
        !known
            && !self.inner.flights.is_rejected(&self.key, token)
            && self.inner.expiry.is_fresh(token, self.inner.clock.now())
    }

    /// Keeps the token, unless everything was cleared since the attempt began.
    fn store(&self, token: &AccessToken) {
        let inner = &self.inner;
        let writing = inner.flights.with(&self.key, |slot, _| slot.writing.clone());
        let _turn = writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_current() {
            let stored = inner.cache.set(&self.key, token);
            if inner.health.observe(stored).is_some() {
                inner.replaced(&self.key, token, self.epoch);
            }
        }
        inner.keep_local(&self.key, token, self.epoch);
        if !self.is_current() {
            inner.health.observe(inner.cache.delete_if(&self.key, token));
        }
    }

    fn is_current(&self) -> bool {
        self.inner.flights.epoch() == self.epoch
    }
}
