//! Rejected tokens. They are not used after the rejection, and are deleted from the cache in the background. The
//! caller's next request therefore does not wait for a slow cache.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::Inner;
use crate::source::flights::Writing;
use crate::source::redemption::Section;
use crate::{AccessToken, TokenKey, TokenRequest, source::background};

/// The maximum time in which a cache deletes a rejected token. Later changes of the same key wait for it.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

/// The deletion of a rejected token from the cache.
struct Deletion {
    inner: Arc<Inner>,
    key: TokenKey,
    used: AccessToken,
    /// Held, so that the state of the key is kept.
    writing: Arc<Writing>,
    /// The end of the process waits briefly for the deletion.
    _section: Section,
}

impl Inner {
    pub(crate) fn reject(self: &Arc<Self>, request: &TokenRequest, used: &AccessToken) {
        let key = self.key.for_request(request);
        let now = self.clock.now();
        let writing = self.flights.with(&key, |slot, _| slot.flight.reject(used, now).then(|| slot.writing.clone()));
        // Otherwise another task is deleting the token.
        let Some(writing) = writing else { return };
        let is_near = self.cache.get_local(&key).is_some();
        let deletion =
            Deletion { inner: self.clone(), key, used: used.clone(), writing, _section: Section::settling(self.owner) };
        let mut work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(deletion.run());
        // A memory cache has deleted it by now, unless an attempt is storing a token.
        let is_done = is_near && work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if !is_done {
            self.spawn_anywhere(work);
        }
    }

    /// Spawns `work` separately from the caller, on the caller's runtime only if the provider needs it and it exists.
    fn spawn_anywhere(&self, work: impl Future<Output = ()> + Send + 'static) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.provider.needs_caller_runtime() => drop(runtime.spawn(work)),
            // The error of a thread that cannot be started is returned to the next caller that needs a token.
            _ => {
                let _ = background::spawn(work);
            }
        }
    }
}

impl Deletion {
    async fn run(self) {
        let Self { inner, key, used, writing, .. } = &self;
        let _turn = writing.lock().await;
        let deletion = inner.cache.delete_if(key, used);
        let Some(deleted) = inner.within(DELETION_TIMEOUT, deletion).await else { return };
        if let Some(deleted) = inner.health.observe(deleted) {
            inner.flights.with(key, |slot, _| slot.flight.forgotten(used, deleted));
        }
    }
}

impl Drop for Deletion {
    fn drop(&mut self) {
        self.inner.flights.with(&self.key, |slot, _| slot.flight.end_deletion(&self.used));
        // While it is held, the slot counts as in use.
        drop(std::mem::take(&mut self.writing));
        self.inner.tidy(&self.key);
    }
}
