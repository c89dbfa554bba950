//! Rejected tokens. A rejected token is not served again, and is deleted from the cache in the background, so that the
//! caller's next request does not wait for a slow cache.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::Inner;
use crate::source::flights::WriteLock;
use crate::source::redemption::Section;
use crate::{AccessToken, TokenKey, TokenRequest, source::background};

/// The timeout of the deletion of a rejected token. Later changes of the cache under the same key wait for the
/// deletion.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

/// The deletion of a rejected token from the cache.
struct Deletion {
    inner: Arc<Inner>,
    key: TokenKey,
    used_token: AccessToken,
    /// Locked during the deletion. The reference also marks the slot of the key as busy, so that the slot is not
    /// removed.
    write_lock: Arc<WriteLock>,
    /// Registers the deletion, so that the end of the source or process waits briefly for it.
    _section: Section,
}

impl Inner {
    pub(crate) fn reject(self: &Arc<Self>, request: &TokenRequest, used_token: &AccessToken) {
        let key = self.key.for_request(request);
        let now = self.clock.now();
        let deletion_lock = self.flights.with_slot(&key, |slot, _| {
            let must_delete = slot.flight.reject(used_token, now);
            must_delete.then(|| slot.write_lock.clone())
        });
        // Without a lock, another task is already deleting the token.
        let Some(write_lock) = deletion_lock else { return };
        let is_in_memory = self.cache.get_local(&key).is_some();
        let section = Section::for_deletion(self.owner_id);
        let (inner, used_token) = (self.clone(), used_token.clone());
        let deletion = Deletion { inner, key, used_token, write_lock, _section: section };
        let mut work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(deletion.run());
        // With a cache in memory, the first poll completes the deletion, unless an attempt that stores a token holds
        // the lock.
        let is_done = is_in_memory && work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if !is_done {
            self.spawn_for_provider(work);
        }
    }

    /// Spawns `work` on the caller's runtime, if the provider needs that runtime and there is one, and otherwise on the
    /// background thread.
    fn spawn_for_provider(&self, work: impl Future<Output = ()> + Send + 'static) {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.provider.needs_caller_runtime() => drop(runtime.spawn(work)),
            // If the background thread cannot be started, the next caller that needs a token gets the error.
            _ => {
                let _ = background::spawn(work);
            }
        }
    }
}

impl Deletion {
    async fn run(self) {
        let Self { inner, key, used_token, write_lock, .. } = &self;
        let _guard = write_lock.lock().await;
        let deletion = inner.cache.delete_if(key, used_token);
        let Some(outcome) = inner.within(DELETION_TIMEOUT, deletion).await else { return };
        if let Some(was_deleted) = inner.health.observe(outcome) {
            inner.flights.with_slot(key, |slot, _| slot.flight.mark_uncached(used_token, was_deleted));
        }
    }
}

impl Drop for Deletion {
    fn drop(&mut self) {
        self.inner.flights.with_slot(&self.key, |slot, _| slot.flight.end_deletion(&self.used_token));
        // The reference is dropped first, because it marks the slot as busy.
        drop(std::mem::take(&mut self.write_lock));
        self.inner.remove_if_idle(&self.key);
    }
}
