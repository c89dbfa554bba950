use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch::{self, Receiver, Sender};

use super::{Inner, Outcome};
use crate::{AccessToken, Acquired, LeaseGuard, TokenError, TokenKey, TokenRequest};

/// Who obtains a token.
enum Lead {
    /// Another process has obtained this one.
    Adopted(AccessToken),
    /// This process does, in place of `previous`; alone if there is no lease.
    Taken { guard: Option<Box<dyn LeaseGuard>>, previous: Option<AccessToken> },
}

/// One attempt to obtain a token, for all who wait for it.
///
/// However it ends – well, with an error, by a panic, because the runtime ends – it is announced.
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
    announce: Sender<Option<Outcome>>,
    ended: bool,
}

impl Attempt {
    pub(super) fn new(
        inner: &Arc<Inner>,
        key: &TokenKey,
        request: &TokenRequest,
        previous: Option<AccessToken>,
        (epoch, credential): (u64, u64),
    ) -> Self {
        Self {
            inner: inner.clone(),
            key: key.clone(),
            request: request.clone(),
            previous,
            epoch,
            credential,
            announce: watch::channel(None).0,
            ended: false,
        }
    }

    /// Where its end is announced.
    pub(super) fn outcome(&self) -> Receiver<Option<Outcome>> {
        self.announce.subscribe()
    }

    /// Lets the attempt run apart from its callers.
    pub(super) fn spawn(self) {
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(self.run())),
            Err(_) => self.end(Err(TokenError::provider("a token source needs a tokio runtime to obtain tokens on"))),
        }
    }

    async fn run(self) {
        let outcome = self.obtain().await;
        self.end(outcome);
    }

    async fn obtain(&self) -> Outcome {
        let kept = self.inner.look_up(&self.key, self.epoch).await;
        if let Some(token) = kept.as_ref().filter(|token| self.is_news(token)) {
            self.inner.replaced(&self.key, token, self.epoch);
            return Ok(token.clone());
        }
        let known = kept.or_else(|| self.previous.clone());
        let (guard, previous) = match self.take_lead(known).await? {
            Lead::Adopted(token) => return Ok(token),
            Lead::Taken { guard, previous } => (guard, previous),
        };
        match self.ask(previous.as_ref()).await {
            Ok(token) => {
                self.store(&token, guard).await;
                Ok(token)
            }
            Err(error) => {
                match (guard, previous) {
                    // One that is good for a while yet stays for those to whom that is enough.
                    (Some(guard), Some(refused)) if error.is_refused() && self.is_of_no_use(&refused) => {
                        self.inner.health.observe(guard.discard(&refused).await);
                    }
                    (Some(guard), _) => guard.give_up().await,
                    (None, _) => {}
                }
                Err(error)
            }
        }
    }

    /// Takes the lease, if there is one, unless another process has obtained a token meanwhile.
    async fn take_lead(&self, known: Option<AccessToken>) -> Result<Lead, TokenError> {
        let mut previous = known;
        let Some(lease) = &self.inner.lease else { return Ok(Lead::Taken { guard: None, previous }) };
        let needs_lease = self.inner.provider.needs_lease();
        // What another process has stored may be of no use here. Then that is what is to be replaced,
        // and the second time no other is offered, unless it is newer still.
        for _ in 0..2 {
            let acquired = lease.acquire(&self.key, previous.as_ref()).await;
            if needs_lease && let Err(error) = acquired {
                return Err(error);
            }
            match self.inner.health.observe(acquired) {
                Some(Acquired::Adopted(token)) if self.is_news(&token) => {
                    self.inner.replaced(&self.key, &token, self.epoch);
                    self.inner.keep_local(&self.key, &token, self.epoch);
                    return Ok(Lead::Adopted(token));
                }
                Some(Acquired::Adopted(token)) => previous = Some(token),
                Some(Acquired::Leading(guard)) => {
                    let previous = guard.current().cloned().or(previous);
                    return Ok(Lead::Taken { guard: Some(guard), previous });
                }
                None => break,
            }
        }
        if needs_lease {
            return Err(TokenError::provider("another process obtains tokens that are of no use here"));
        }
        // The store is away, or offers one useless token after the other: this process looks after itself.
        Ok(Lead::Taken { guard: None, previous })
    }

    /// Whether a token is better than the one that is to be replaced.
    fn is_news(&self, token: &AccessToken) -> bool {
        let known = self.previous.as_ref().is_some_and(|previous| previous.is_same(token));
        !known
            && !self.inner.flights.is_rejected(&self.key, token)
            && self.inner.expiry.is_fresh(token, self.inner.clock.now())
    }

    fn is_of_no_use(&self, token: &AccessToken) -> bool {
        let ended = token.expires_at().is_none_or(|end| end <= self.inner.clock.now());
        ended || self.inner.flights.is_rejected(&self.key, token)
    }

    async fn ask(&self, previous: Option<&AccessToken>) -> Outcome {
        tracing::debug!(issuer = self.key.issuer(), "obtaining an access token");
        let token = match previous {
            Some(previous) => self.inner.provider.refresh(&self.request, previous).await,
            None => self.inner.provider.fetch(&self.request).await,
        };
        self.inner.expiry.settle(token?, self.inner.clock.now(), fastrand::f64())
    }

    /// Keeps the token, unless everything was cleared since the attempt began.
    async fn store(&self, token: &AccessToken, guard: Option<Box<dyn LeaseGuard>>) {
        let inner = &self.inner;
        let writing = inner.flights.with(&self.key, |slot, _| slot.writing.clone());
        let _turn = writing.lock().await;
        if self.is_current() {
            let stored = match guard {
                Some(guard) => guard.publish(token).await,
                None => inner.cache.set(&self.key, token).await,
            };
            if inner.health.observe(stored).is_some() {
                inner.replaced(&self.key, token, self.epoch);
            }
        } else if let Some(guard) = guard {
            guard.give_up().await;
        }
        inner.keep_local(&self.key, token, self.epoch);
        if !self.is_current() {
            inner.health.observe(inner.cache.delete_if(&self.key, token).await);
        }
    }

    fn is_current(&self) -> bool {
        self.inner.flights.epoch() == self.epoch
    }

    fn end(mut self, outcome: Outcome) {
        self.announce(outcome);
    }

    fn announce(&mut self, outcome: Outcome) {
        self.ended = true;
        if let Err(error) = &outcome {
            tracing::debug!(error = error as &dyn std::error::Error, "no access token could be obtained");
        }
        self.inner.flights.with(&self.key, |slot, epoch| {
            if epoch == self.epoch {
                slot.flight.finish(&outcome, self.inner.clock.now(), self.credential, fastrand::f64());
                slot.attempt = None;
            }
        });
        self.announce.send_replace(Some(outcome));
        self.inner.tidy(&self.key);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.announce(Err(if std::thread::panicking() { TokenError::panicked() } else { TokenError::aborted() }));
        }
    }
}
