//! One attempt to obtain a token: read the cache again, acquire the lease, call the provider, store the token, and
//! announce the outcome to all waiting callers.

mod limit;
mod refusal;
mod single_use;

use std::sync::Arc;

use tokio::sync::watch::{self, Receiver, Sender};
use tracing::Instrument;

use super::{Inner, Outcome, Progress};
use crate::source::flight::VERIFICATION_PAUSE;
use crate::source::flights::{Epoch, Writing};
use crate::source::redemption::Section;
use crate::source::unpublished::{Held, Unpublished};
use crate::{AccessToken, LeaseGuard, LeaseOutcome, TokenError, TokenKey, TokenRequest};

/// The result of acquiring the lease.
enum Lead {
    /// Another process has obtained this token.
    Adopted(AccessToken),
    /// This process must obtain a token that replaces `previous`. `guard` is `None` for a source without a lease, and
    /// if the lease is unavailable.
    Taken { guard: Option<Box<dyn LeaseGuard>>, previous: Option<AccessToken> },
}

/// The outcome of an attempt, and the token that must still be stored.
struct Obtained {
    outcome: Outcome,
    unpublished: Option<(Arc<Unpublished>, TokenError)>,
}

impl From<Outcome> for Obtained {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, unpublished: None }
    }
}

/// An attempt to obtain a token for all waiting callers.
///
/// Callers always receive an outcome: an error if the attempt panics, is canceled, or loses its runtime.
pub(super) struct Attempt {
    inner: Arc<Inner>,
    key: TokenKey,
    request: TokenRequest,
    /// The token to replace.
    previous: Option<AccessToken>,
    /// The epoch at the start of the attempt. If everything is cleared later, the token is not stored.
    epoch: Epoch,
    /// The version of the provider's credential at the start of the attempt. A refusal applies only to this version.
    credential: u64,
    announce: Sender<Progress>,
    /// A reference that marks the slot of the key as busy until the attempt ends. The attempt may have read a token
    /// that is rejected later, so that rejections are remembered until then, even after a clear.
    reading: Option<Arc<Writing>>,
    ended: bool,
}

impl Attempt {
    pub(super) fn new(
        inner: &Arc<Inner>,
        key: &TokenKey,
        request: &TokenRequest,
        previous: Option<AccessToken>,
        (epoch, credential): (Epoch, u64),
        reading: Arc<Writing>,
    ) -> Self {
        Self {
            inner: inner.clone(),
            key: key.clone(),
            request: request.clone(),
            previous,
            epoch,
            credential,
            announce: watch::channel(Progress::default()).0,
            reading: Some(reading),
            ended: false,
        }
    }

    /// Subscribes to the progress of the attempt.
    pub(super) fn progress(&self) -> Receiver<Progress> {
        self.announce.subscribe()
    }

    /// Spawns the attempt as a task of its own, so that it continues when its callers are dropped.
    pub(super) fn spawn(self) {
        let inner = self.inner.clone();
        let attempt = self;
        let owner = (inner.owner, &inner.is_closed);
        // Opened before the task starts: a source that is dropped in between cancels it or waits for it.
        let section = Section::new((!inner.provider.needs_caller_runtime()).then_some(owner));
        let work = async move {
            let running = section.clone();
            let _ = running.run(attempt.run(section)).await;
        };
        // If the task cannot be spawned, the attempt is dropped with it, and announces an error.
        let _ = inner.spawn(work.in_current_span());
    }

    async fn run(self, section: Section) {
        let Obtained { outcome, unpublished } = self.obtain_in_turn(&section).await;
        let (inner, key, epoch) = (self.inner.clone(), self.key.clone(), self.epoch);
        if unpublished.is_none() {
            section.relax();
        }
        self.end(outcome);
        if let Some((unpublished, error)) = unpublished {
            section.set_unstored(Some(error));
            inner.store_eventually(key, epoch, unpublished, section).await;
        }
    }

    async fn obtain(&self, section: &Section) -> Obtained {
        let held = self.inner.flights.with(&self.key, |slot, _| slot.unpublished.clone());
        if let Some(unpublished) = held {
            let mut lease = unpublished.lock().await;
            if !lease.is_done {
                return self.replace_unpublished(section, &unpublished, &mut lease).await.into();
            }
        }
        let cached = self.inner.look_up(&self.key, self.epoch).await;
        if let Some(token) = cached.as_ref().filter(|token| self.is_news(token)) {
            self.inner.replaced(&self.key, token, self.epoch);
            return Ok(token.clone()).into();
        }
        // After a clear or an invalidation, the previous token is not used: its login may have ended, or its refresh
        // token may be spent.
        let known_token = cached.or_else(|| self.previous.clone().filter(|_| self.is_current()));
        match self.take_lead(known_token).await {
            Err(error) => Err(error).into(),
            Ok(Lead::Adopted(token)) => Ok(token).into(),
            Ok(Lead::Taken { guard, previous }) => self.lead(section, guard, previous).await,
        }
    }

    /// Obtains a replacement for a token that could not be stored, under the lease that is still held for it.
    async fn replace_unpublished(&self, section: &Section, unpublished: &Unpublished, held: &mut Held) -> Outcome {
        let previous = self.without_refused(&unpublished.token());
        match self.ask(section, Some(&previous)).await {
            Ok(token) => {
                unpublished.replace(token.clone());
                held.is_done =
                    self.inner.store(&self.key, self.epoch, (&token, None), held.guard.as_mut()).await.is_ok();
                self.served(token)
            }
            Err(error) => {
                let error = self.with_history(error, Some(&previous));
                if error.is_grant_refused() {
                    held.is_done = true;
                    self.forget_refused(held.guard.take(), &previous).await;
                }
                Err(error)
            }
        }
    }

    /// Obtains a token as the leader, on behalf of all callers and processes, and stores it.
    async fn lead(
        &self,
        section: &Section,
        mut guard: Option<Box<dyn LeaseGuard>>,
        previous: Option<AccessToken>,
    ) -> Obtained {
        let is_refused = |token: &AccessToken| guard.as_ref().is_some_and(|guard| guard.is_refused(token));
        let previous = previous.map(|token| if is_refused(&token) { token.without_refresh_token() } else { token });
        let previous = previous.map(|token| self.without_refused(&token));
        let initial = self.initial().filter(|_| previous.as_ref().is_none_or(|token| token.refresh_token().is_none()));
        if initial.as_ref().is_some_and(|initial| is_refused(initial) || self.is_refused(initial)) {
            give_up(guard).await;
            return Err(TokenError::refused("the identity provider has already refused the refresh token")).into();
        }
        let turn = match &initial {
            Some(initial) => match self.first_use(initial).await {
                Ok(turn) => Some(turn),
                Err(error) => {
                    give_up(guard).await;
                    return Err(error).into();
                }
            },
            None => None,
        };
        let presented = initial.or_else(|| previous.clone());
        let token = match self.ask(section, previous.as_ref()).await {
            Ok(token) => token,
            Err(error) => {
                let error = self.with_history(error, presented.as_ref());
                match presented.filter(|_| error.is_grant_refused()) {
                    Some(refused) => self.forget_refused(guard, &refused).await,
                    None => give_up(guard).await,
                }
                return Err(error).into();
            }
        };
        self.record_use(turn, presented.as_ref(), &token);
        if self.is_abandoned() {
            // Another attempt may have stored a later token.
            give_up(guard).await;
            return self.served(token).into();
        }
        let stored = self.inner.store(&self.key, self.epoch, (&token, previous.as_ref()), guard.as_mut()).await;
        let unpublished = match stored {
            Ok(()) => {
                // After a clear nothing was published, so the lease is still held.
                give_up(guard.filter(|_| self.is_cleared())).await;
                None
            }
            Err(error) => {
                let unpublished = Arc::new(Unpublished::new(token.clone(), guard));
                let is_kept = self.inner.flights.with(&self.key, |slot, epoch| {
                    let is_kept = !epoch.is_cleared_since(self.epoch);
                    slot.unpublished = is_kept.then(|| unpublished.clone()).or(slot.unpublished.take());
                    is_kept
                });
                is_kept.then_some((unpublished, error))
            }
        };
        Obtained { outcome: self.served(token), unpublished }
    }

    /// Acquires the lease, if there is one, unless another process has obtained a newer token.
    async fn take_lead(&self, known: Option<AccessToken>) -> Result<Lead, TokenError> {
        let mut previous = known;
        let Some(lease) = &self.inner.lease else { return Ok(Lead::Taken { guard: None, previous }) };
        let (needs_lease, initial) = (self.inner.provider.needs_lease(), self.initial());
        // Another process may have stored a token that cannot be used here. The second iteration passes it as the
        // previous token, so that the lease adopts only a different one.
        for _ in 0..2 {
            let acquired = lease.acquire(&self.key, previous.as_ref().or(initial.as_ref())).await;
            if needs_lease && let Err(error) = acquired {
                return Err(error);
            }
            match self.inner.health.observe(acquired) {
                Some(LeaseOutcome::AlreadyRefreshed(token)) if self.is_news(&token) => {
                    self.inner.replaced(&self.key, &token, self.epoch);
                    self.inner.keep_local(&self.key, &token, self.epoch);
                    return Ok(Lead::Adopted(token));
                }
                Some(LeaseOutcome::AlreadyRefreshed(token)) => previous = Some(token),
                Some(LeaseOutcome::Acquired(guard)) => {
                    // If another process has ended the login, the copy in memory must not restore it.
                    let previous = previous.filter(|_| !guard.login_was_ended());
                    let previous = guard.current().cloned().or(previous);
                    return Ok(Lead::Taken { guard: Some(guard), previous });
                }
                None => break,
            }
        }
        if needs_lease {
            return Err(TokenError::provider("another process obtains tokens that cannot be used here"));
        }
        // The store is unavailable or repeatedly offers unusable tokens: this process obtains its own.
        Ok(Lead::Taken { guard: None, previous })
    }

    /// Returns true if a token is fresh, not rejected, and not the one to replace.
    fn is_news(&self, token: &AccessToken) -> bool {
        let known = self.previous.as_ref().is_some_and(|previous| previous.is_same(token));
        !known
            && !self.inner.flights.is_rejected(&self.key, token)
            && self.inner.expiry.is_fresh(token, self.inner.clock.now())
    }

    /// Returns the previous token if it can be verified now; otherwise calls the provider, and sets the expiry of the
    /// new token.
    async fn ask(&self, section: &Section, previous: Option<&AccessToken>) -> Outcome {
        tracing::debug!(issuer = self.key.issuer(), "obtaining an access token");
        let previous = match previous {
            Some(token) => match self.verified_now(section, token).await? {
                Some(token) => return Ok(token),
                None => Some(token),
            },
            None => None,
        };
        let provider = &self.inner.provider;
        if provider.needs_lease() && !provider.announces_redemption() {
            section.begin()?;
        }
        let call = async {
            match previous {
                Some(previous) => provider.refresh(&self.request, previous).await,
                None => provider.fetch(&self.request).await,
            }
        };
        let token = self.in_time(section, call).await?;
        let (now, random) = (self.inner.clock.now(), fastrand::f64());
        let token = match self.inner.expiry.settle(token.clone(), now, random) {
            // The refresh token is kept even if the access token is unusable.
            Err(error) if token.refresh_token().is_some() => token.with_unverified(error.to_string(), now, true),
            settled => settled?,
        };
        let was_rejected = self.inner.flights.with(&self.key, |slot, _| slot.flight.reject_again(&token));
        // A rejected access token is an error, unless it came with a refresh token, which must be stored first.
        if was_rejected && token.refresh_token().is_none() { Err(TokenError::rejected_again()) } else { Ok(token) }
    }

    /// Verifies a token that was stored unverified, without redeeming anything. Returns `None` if it must be replaced.
    async fn verified_now(&self, section: &Section, token: &AccessToken) -> Result<Option<AccessToken>, TokenError> {
        let Some(unverified) = token.unverified() else { return Ok(None) };
        let now = self.inner.clock.now();
        if token.expires_at().is_none_or(|end| end > now) || unverified.is_final {
            let verified = self.in_time(section, self.inner.provider.verify(token)).await?;
            if verified.unverified().is_none() {
                let settled = self.inner.expiry.settle(verified, now, fastrand::f64());
                if settled.is_ok() {
                    return settled.map(Some);
                }
            }
        }
        let recent = unverified.since..unverified.since + VERIFICATION_PAUSE;
        if unverified.is_final && recent.contains(&now) {
            return Err(TokenError::unverified(&unverified.reason, true));
        }
        Ok(None)
    }

    /// Returns the token, or an error if it is unverified or rejected and was stored only for its refresh token.
    fn served(&self, token: AccessToken) -> Outcome {
        match token.unverified() {
            Some(unverified) => Err(TokenError::unverified(&unverified.reason, unverified.is_final)),
            None if self.inner.flights.is_rejected(&self.key, &token) => Err(TokenError::rejected_again()),
            None => Ok(token),
        }
    }

    fn is_current(&self) -> bool {
        self.inner.flights.epoch() == self.epoch
    }

    fn is_cleared(&self) -> bool {
        self.inner.flights.epoch().is_cleared_since(self.epoch)
    }

    /// Returns true if its callers have stopped waiting, and may have started another attempt.
    fn is_abandoned(&self) -> bool {
        let own = self.announce.subscribe();
        self.inner.flights.with(&self.key, |slot, epoch| {
            epoch == self.epoch && !slot.attempt.as_ref().is_some_and(|attempt| attempt.same_channel(&own))
        })
    }

    fn end(mut self, outcome: Outcome) {
        self.announce(outcome);
    }

    fn announce(&mut self, outcome: Outcome) {
        self.ended = true;
        if let Err(error) = &outcome {
            tracing::debug!(error = error as &dyn std::error::Error, "cannot obtain an access token");
        }
        let own = self.announce.subscribe();
        self.inner.flights.with(&self.key, |slot, _| {
            // After a clear, or once abandoned, the attempt does not own the state of the key.
            if slot.attempt.take_if(|attempt| attempt.same_channel(&own)).is_some() {
                slot.flight.finish(&outcome, self.inner.clock.now(), self.credential, fastrand::f64());
            }
        });
        self.announce.send_modify(|progress| progress.outcome = Some(outcome));
        self.reading = None;
        self.inner.tidy(&self.key);
    }
}

async fn give_up(guard: Option<Box<dyn LeaseGuard>>) {
    if let Some(guard) = guard {
        guard.give_up().await;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            self.announce(Err(if std::thread::panicking() { TokenError::panicked() } else { TokenError::aborted() }));
        }
    }
}
