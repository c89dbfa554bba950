//! One attempt to obtain a token. It reads the cache again, acquires the lease, calls the provider, stores the token,
//! and announces the outcome to all waiting callers.

mod limit;
mod refusal;
mod single_use;

use std::sync::Arc;

use tokio::sync::watch::{self, Receiver, Sender};
use tracing::Instrument;

use super::{Inner, Outcome, Progress};
use crate::source::flight::VERIFICATION_PAUSE;
use crate::source::flights::{Epoch, WriteLock};
use crate::source::redemption::Section;
use crate::source::unpublished::{HeldLease, UnpublishedToken};
use crate::{AccessToken, LeaseGuard, LeaseOutcome, TokenError, TokenKey, TokenRequest};

/// The role of this process after it has tried to acquire the lease.
enum Role {
    /// Another process has obtained this token.
    Follower(AccessToken),
    /// This process must obtain a token that replaces `previous`. `guard` is `None` if the source has no lease, or if
    /// the lease is unavailable.
    Leader { guard: Option<Box<dyn LeaseGuard>>, previous: Option<AccessToken> },
}

/// The outcome of an attempt. If its token could not be stored, `unpublished` contains the token and the store's error.
struct AttemptOutput {
    outcome: Outcome,
    unpublished: Option<(Arc<UnpublishedToken>, TokenError)>,
}

impl From<Outcome> for AttemptOutput {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, unpublished: None }
    }
}

/// An attempt to obtain a token for all waiting callers.
///
/// Callers always receive an outcome. If the attempt panics or is canceled, or its runtime is shut down, the outcome is
/// an error.
pub(super) struct Attempt {
    inner: Arc<Inner>,
    key: TokenKey,
    request: TokenRequest,
    /// The token to replace.
    previous: Option<AccessToken>,
    /// The epoch at the start of the attempt. If the source was cleared since, the token is not stored.
    epoch: Epoch,
    /// The version of the provider's credential at the start of the attempt. A refusal applies only to this version.
    credential_version: u64,
    progress: Sender<Progress>,
    /// Keeps the slot of the key busy until the attempt ends. A busy slot remembers rejections, even after a clear,
    /// because the attempt may have read a token that is rejected later.
    busy_mark: Option<Arc<WriteLock>>,
    is_announced: bool,
}

impl Attempt {
    pub(super) fn new(
        inner: &Arc<Inner>,
        key: &TokenKey,
        request: &TokenRequest,
        previous: Option<AccessToken>,
        (epoch, credential_version): (Epoch, u64),
        busy_mark: Arc<WriteLock>,
    ) -> Self {
        Self {
            inner: inner.clone(),
            key: key.clone(),
            request: request.clone(),
            previous,
            epoch,
            credential_version,
            progress: watch::channel(Progress::default()).0,
            busy_mark: Some(busy_mark),
            is_announced: false,
        }
    }

    /// Subscribes to the progress of the attempt.
    pub(super) fn progress(&self) -> Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Spawns the attempt as a separate task, so that it continues when its callers are dropped.
    pub(super) fn spawn(self) {
        let inner = self.inner.clone();
        let attempt = self;
        let owner = (inner.owner_id, &inner.is_closed);
        // The section is opened before the task starts. If the source is dropped before the task runs, it can therefore
        // cancel the attempt or wait for it.
        let section = Section::new((!inner.provider.needs_caller_runtime()).then_some(owner));
        let task = async move {
            let attempt_section = section.clone();
            let _ = attempt_section.run(attempt.run(section)).await;
        };
        // If the task cannot be spawned, the attempt is dropped, and its drop handler announces an error.
        let _ = inner.spawn(task.in_current_span());
    }

    async fn run(self, section: Section) {
        let AttemptOutput { outcome, unpublished } = self.obtain_exclusively(&section).await;
        let (inner, key, epoch) = (self.inner.clone(), self.key.clone(), self.epoch);
        if unpublished.is_none() {
            section.end_redemption();
        }
        self.end(outcome);
        if let Some((unpublished, error)) = unpublished {
            section.set_store_error(Some(error));
            inner.store_with_retries(key, epoch, unpublished, section).await;
        }
    }

    async fn obtain(&self, section: &Section) -> AttemptOutput {
        let unpublished = self.inner.flights.with_slot(&self.key, |slot, _| slot.unpublished.clone());
        if let Some(unpublished) = unpublished {
            let mut held_lease = unpublished.lock().await;
            if !held_lease.is_settled {
                return self.replace_unpublished(section, &unpublished, &mut held_lease).await.into();
            }
        }
        let cached = self.inner.read_cache(&self.key, self.epoch).await;
        if let Some(token) = cached.as_ref().filter(|token| self.is_replacement(token)) {
            self.inner.record_cached_token(&self.key, token, self.epoch);
            return Ok(token.clone()).into();
        }
        // After a clear or an invalidation, the previous token is not used, because the user may have logged out, or
        // its refresh token may have been redeemed.
        let previous = cached.or_else(|| self.previous.clone().filter(|_| self.is_current_epoch()));
        match self.acquire_lease(previous).await {
            Err(error) => Err(error).into(),
            Ok(Role::Follower(token)) => Ok(token).into(),
            Ok(Role::Leader { guard, previous }) => self.obtain_as_leader(section, guard, previous).await,
        }
    }

    /// Obtains a replacement for a token that could not be stored, while holding the lease of that token.
    async fn replace_unpublished(
        &self,
        section: &Section,
        unpublished: &UnpublishedToken,
        held_lease: &mut HeldLease,
    ) -> Outcome {
        let previous = self.without_refused_refresh_token(&unpublished.token());
        match self.verify_or_obtain(section, Some(&previous)).await {
            Ok(token) => {
                unpublished.replace(token.clone());
                let guard = held_lease.guard.as_mut();
                let store_result = self.inner.store(&self.key, self.epoch, (&token, None), guard).await;
                held_lease.is_settled = store_result.is_ok();
                self.require_usable(token)
            }
            Err(error) => {
                let error = self.record_refusal(error, Some(&previous));
                if error.is_grant_refused() {
                    held_lease.is_settled = true;
                    self.delete_refused_token(held_lease.guard.take(), &previous).await;
                }
                Err(error)
            }
        }
    }

    /// Obtains a token as the leader, on behalf of all callers and processes, and stores it.
    async fn obtain_as_leader(
        &self,
        section: &Section,
        mut guard: Option<Box<dyn LeaseGuard>>,
        previous: Option<AccessToken>,
    ) -> AttemptOutput {
        let is_refused = |token: &AccessToken| guard.as_ref().is_some_and(|guard| guard.is_refused(token));
        let previous = previous.map(|token| if is_refused(&token) { token.without_refresh_token() } else { token });
        let previous = previous.map(|token| self.without_refused_refresh_token(&token));
        let has_no_refresh_token = previous.as_ref().is_none_or(|token| token.refresh_token().is_none());
        let initial_token = self.initial_credential_token().filter(|_| has_no_refresh_token);
        if initial_token.as_ref().is_some_and(|token| is_refused(token) || self.is_refused(token)) {
            release(guard).await;
            return Err(TokenError::refused("the identity provider has already refused the refresh token")).into();
        }
        let reservation = match &initial_token {
            Some(initial_token) => match self.reserve_initial_credential(initial_token).await {
                Ok(reservation) => Some(reservation),
                Err(error) => {
                    release(guard).await;
                    return Err(error).into();
                }
            },
            None => None,
        };
        let presented_token = initial_token.or_else(|| previous.clone());
        let token = match self.verify_or_obtain(section, previous.as_ref()).await {
            Ok(token) => token,
            Err(error) => {
                let error = self.record_refusal(error, presented_token.as_ref());
                match presented_token.filter(|_| error.is_grant_refused()) {
                    Some(refused) => self.delete_refused_token(guard, &refused).await,
                    None => release(guard).await,
                }
                return Err(error).into();
            }
        };
        self.record_redemption(reservation, presented_token.as_ref(), &token);
        if self.is_abandoned() {
            // The token is not stored, because another attempt may have stored a later one.
            release(guard).await;
            return self.require_usable(token).into();
        }
        let store_result = self.inner.store(&self.key, self.epoch, (&token, previous.as_ref()), guard.as_mut()).await;
        let unpublished = match store_result {
            Ok(()) => {
                // `LeaseGuard::publish` releases the lease. After a clear, `store` does not call it.
                release(guard.filter(|_| self.is_source_cleared())).await;
                None
            }
            Err(error) => {
                let unpublished = Arc::new(UnpublishedToken::new(token.clone(), guard));
                let must_be_stored = self.inner.flights.with_slot(&self.key, |slot, epoch| {
                    let must_be_stored = !epoch.is_cleared_since(self.epoch);
                    slot.unpublished = must_be_stored.then(|| unpublished.clone()).or(slot.unpublished.take());
                    must_be_stored
                });
                must_be_stored.then_some((unpublished, error))
            }
        };
        AttemptOutput { outcome: self.require_usable(token), unpublished }
    }

    /// Acquires the lease of the source, if it has one, or returns the token that another process has obtained.
    async fn acquire_lease(&self, mut previous: Option<AccessToken>) -> Result<Role, TokenError> {
        let Some(lease) = &self.inner.lease else { return Ok(Role::Leader { guard: None, previous }) };
        let (needs_lease, initial_token) = (self.inner.provider.needs_lease(), self.initial_credential_token());
        // Another process may have stored a token that cannot be used here. The second iteration passes that token as
        // the previous one, so that the lease does not return it again.
        for _ in 0..2 {
            let lease_outcome = lease.acquire(&self.key, previous.as_ref().or(initial_token.as_ref())).await;
            if needs_lease && let Err(error) = lease_outcome {
                return Err(error);
            }
            match self.inner.health.observe(lease_outcome) {
                Some(LeaseOutcome::AlreadyRefreshed(token)) if self.is_replacement(&token) => {
                    self.inner.record_cached_token(&self.key, &token, self.epoch);
                    self.inner.keep_copy(&self.key, &token, self.epoch);
                    return Ok(Role::Follower(token));
                }
                Some(LeaseOutcome::AlreadyRefreshed(token)) => previous = Some(token),
                Some(LeaseOutcome::Acquired(guard)) => {
                    // If the user has logged out in another process, the copy in memory must not restore the login.
                    let previous = previous.filter(|_| !guard.is_logged_out());
                    let previous = guard.current().cloned().or(previous);
                    return Ok(Role::Leader { guard: Some(guard), previous });
                }
                None => break,
            }
        }
        if needs_lease {
            return Err(TokenError::provider("another process obtains tokens that cannot be used here"));
        }
        // The store is unavailable or returned unusable tokens, so this process obtains a token without the lease.
        Ok(Role::Leader { guard: None, previous })
    }

    /// Returns true if `token` can replace the previous one: it is a different token, fresh and not rejected.
    fn is_replacement(&self, token: &AccessToken) -> bool {
        let is_previous = self.previous.as_ref().is_some_and(|previous| previous.is_same(token));
        !is_previous
            && !self.inner.flights.is_rejected(&self.key, token)
            && self.inner.expiry.is_fresh(token, self.inner.clock.now())
    }

    /// Returns the previous token if it was stored unverified and can be verified now. Otherwise, obtains a token from
    /// the provider, and sets its expiry.
    async fn verify_or_obtain(&self, section: &Section, previous: Option<&AccessToken>) -> Outcome {
        tracing::debug!(issuer = self.key.issuer(), "obtaining an access token");
        let previous = match previous {
            Some(token) => match self.verify_stored(section, token).await? {
                Some(token) => return Ok(token),
                None => Some(token),
            },
            None => None,
        };
        let provider = &self.inner.provider;
        if provider.needs_lease() && !provider.announces_redemption() {
            section.begin_redemption()?;
        }
        let call = async {
            match previous {
                Some(previous) => provider.refresh(&self.request, previous).await,
                None => provider.fetch(&self.request).await,
            }
        };
        let token = self.with_timeout(section, call).await?;
        let (now, random) = (self.inner.clock.now(), fastrand::f64());
        let token = match self.inner.expiry.apply_with_random(token.clone(), now, random) {
            // An unusable access token is stored as unverified if it has a refresh token, which must not be lost.
            Err(error) if token.refresh_token().is_some() => token.with_unverified(error.to_string(), now, true),
            result => result?,
        };
        let was_rejected =
            self.inner.flights.with_slot(&self.key, |slot, _| slot.flight.reject_again_if_rejected_before(&token));
        // A rejected access token is an error. If it has a refresh token, the refresh token is stored first, and
        // `require_usable` returns the error afterwards.
        if was_rejected && token.refresh_token().is_none() { Err(TokenError::rejected_again()) } else { Ok(token) }
    }

    /// Verifies a token that was stored unverified. Returns `None` if a new token must be obtained: `token` is not marked
    /// as unverified, it has expired, or it fails verification.
    ///
    /// # Errors
    ///
    /// The provider cannot verify the token now, or the token failed verification less than [`VERIFICATION_PAUSE`] ago.
    async fn verify_stored(&self, section: &Section, token: &AccessToken) -> Result<Option<AccessToken>, TokenError> {
        let Some(unverified) = token.unverified() else { return Ok(None) };
        let now = self.inner.clock.now();
        if token.expires_at().is_none_or(|expires_at| expires_at > now) || unverified.is_final {
            let verified = self.with_timeout(section, self.inner.provider.verify(token)).await?;
            if verified.unverified().is_none() {
                let token_with_expiry = self.inner.expiry.apply_with_random(verified, now, fastrand::f64());
                if token_with_expiry.is_ok() {
                    return token_with_expiry.map(Some);
                }
            }
        }
        let pause = unverified.since..unverified.since + VERIFICATION_PAUSE;
        if unverified.is_final && pause.contains(&now) {
            return Err(TokenError::unverified(&unverified.reason, true));
        }
        Ok(None)
    }

    /// Returns the token, or an error if it is unverified or rejected. Such a token is stored only for its refresh
    /// token.
    fn require_usable(&self, token: AccessToken) -> Outcome {
        match token.unverified() {
            Some(unverified) => Err(TokenError::unverified(&unverified.reason, unverified.is_final)),
            None if self.inner.flights.is_rejected(&self.key, &token) => Err(TokenError::rejected_again()),
            None => Ok(token),
        }
    }

    /// Returns true if the source was neither cleared nor invalidated since the attempt started.
    fn is_current_epoch(&self) -> bool {
        self.inner.flights.epoch() == self.epoch
    }

    /// Returns true if the source was cleared since the attempt started.
    fn is_source_cleared(&self) -> bool {
        self.inner.flights.epoch().is_cleared_since(self.epoch)
    }

    /// Returns true if callers have stopped waiting for this attempt, and may have started another one.
    fn is_abandoned(&self) -> bool {
        let own_progress = self.progress.subscribe();
        self.inner.flights.with_slot(&self.key, |slot, epoch| {
            epoch == self.epoch && !slot.attempt.as_ref().is_some_and(|attempt| attempt.same_channel(&own_progress))
        })
    }

    fn end(mut self, outcome: Outcome) {
        self.announce(outcome);
    }

    fn announce(&mut self, outcome: Outcome) {
        self.is_announced = true;
        if let Err(error) = &outcome {
            tracing::debug!(error = error as &dyn std::error::Error, "cannot obtain an access token");
        }
        let own_progress = self.progress.subscribe();
        self.inner.flights.with_slot(&self.key, |slot, _| {
            // After a clear, or if callers have abandoned it, the attempt must not change the state of the key.
            if slot.attempt.take_if(|attempt| attempt.same_channel(&own_progress)).is_some() {
                slot.flight.finish_attempt(&outcome, self.inner.clock.now(), self.credential_version, fastrand::f64());
            }
        });
        self.progress.send_modify(|progress| progress.outcome = Some(outcome));
        self.busy_mark = None;
        self.inner.remove_if_idle(&self.key);
    }
}

async fn release(guard: Option<Box<dyn LeaseGuard>>) {
    if let Some(guard) = guard {
        guard.release().await;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_announced {
            self.announce(Err(if std::thread::panicking() { TokenError::panicked() } else { TokenError::canceled() }));
        }
    }
}
