//! A lease in a store, which excludes other processes.
//!
//! - **A holder renews it** with a conditional request. If another process has taken the lease over, the next
//!   renewal fails.
//! - **A lease that is not renewed expires.** Another process takes it over after it has observed no renewal for
//!   [`EXPIRY_TIME`]. It measures this time itself, so that the clocks of the machines need not agree.
//! - **A released lease** contains an empty JSON object.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::Store;
use super::address::StoreAddress;
use super::error::{Kind, StoreError};
use super::small::{StoredContent, pause};
use crate::error::FolderError;

/// The interval of renewals.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(5);
/// The time without a renewal after which a lease expires. It is long enough for several failed renewals.
const EXPIRY_TIME: Duration = Duration::from_secs(20);
/// The interval at which a waiting process reads the lease.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The time limit for the release of a lease.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// The content of a released lease.
const RELEASED: &[u8] = b"{}\n";

/// A lease in a store. If it is dropped, it is released in the background, as long as the Tokio runtime runs.
#[derive(Debug)]
pub struct StoreLease {
    address: String,
    is_lost: Arc<AtomicBool>,
    /// Dropping the sender ends the renewals, and the lease is released.
    stop: oneshot::Sender<()>,
    renewals: JoinHandle<()>,
}

impl StoreLease {
    /// Acquires the lease `name` below the prefix of an address. If its holder was killed, this takes up to 20 seconds.
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`FolderError::is_locked`]: another process holds the lease. Otherwise the store cannot be read or written.
    pub async fn acquire(store: &Store, address: &StoreAddress, name: &str) -> Result<Self, FolderError> {
        let key = address.key(name);
        let lease = LeaseObject { store: store.clone(), key, owner: fastrand::u128(..) };
        let held_content = match lease.acquire().await {
            Ok(Some(held_content)) => match lease.ensure_conditions().await {
                Ok(()) => held_content,
                Err(error) => return Err(error.into_folder_error(&address.object(&lease.key))),
            },
            Ok(None) => return Err(FolderError::locked(address.to_string().as_ref())),
            Err(error) => return Err(error.into_folder_error(&address.object(&lease.key))),
        };
        let (stop, stop_signal) = oneshot::channel();
        let is_lost = Arc::new(AtomicBool::new(false));
        let renewals = tokio::spawn(lease.renew(held_content, stop_signal, is_lost.clone()));
        Ok(Self { address: address.to_string(), is_lost, stop, renewals })
    }

    /// Fails if the last renewal has shown that another process has taken over the lease.
    ///
    /// # Errors
    ///
    /// [`FolderError::is_locked`].
    pub fn ensure_held(&self) -> Result<(), FolderError> {
        if self.is_lost.load(Ordering::Acquire) { Err(FolderError::locked(self.address.as_ref())) } else { Ok(()) }
    }

    /// Releases the lease, in at most 5 seconds. If this fails, it expires.
    pub async fn release(self) {
        drop(self.stop);
        // If the task has panicked, the lease is not released, and expires.
        let _ = self.renewals.await;
    }
}

/// The object of a lease in a store, as the process `owner` uses it.
struct LeaseObject {
    store: Store,
    key: String,
    owner: u128,
}

impl LeaseObject {
    /// Returns the content after a number of renewals. Other processes recognize a renewal by the changed content.
    fn content_after(&self, renewals: u64) -> Bytes {
        format!("{}{renewals}}}\n", self.content_prefix()).into()
    }

    fn content_prefix(&self) -> String {
        format!("{{\"owner\":\"{:032x}\",\"renewals\":", self.owner)
    }

    /// Returns true if this process has stored the content.
    fn is_own(&self, current: &StoredContent) -> bool {
        current.content().starts_with(self.content_prefix().as_bytes())
    }

    async fn put(&self, content: Bytes, previous: Option<&StoredContent>) -> Result<Option<StoredContent>, StoreError> {
        self.store.put_if_unchanged(&self.key, content, previous).await
    }

    /// Returns the stored lease, or `None` if another process holds it.
    async fn acquire(&self) -> Result<Option<StoredContent>, StoreError> {
        let mut last_seen: Option<(Bytes, Instant)> = None;
        loop {
            let (stored, denied_error) = match self.store.get(&self.key).await {
                Err(error) if error.is_denied() => (None, Some(error)),
                stored => (stored?, None),
            };
            let content = stored.as_ref().map(|stored| stored.content().clone()).filter(|content| content != RELEASED);
            let is_free = match (content, &last_seen) {
                (None, _) => true,
                (Some(content), Some((unchanged, since))) if *unchanged == content => since.elapsed() >= EXPIRY_TIME,
                (Some(content), None) => {
                    last_seen = Some((content, Instant::now()));
                    false
                }
                (Some(_), Some(_)) => return Ok(None),
            };
            if is_free {
                if let Some(held_content) = self.put(self.content_after(0), stored.as_ref()).await? {
                    return Ok(Some(held_content));
                }
                if let Some(error) = denied_error {
                    return Err(error);
                }
                // Another process has acquired the lease first.
                return Ok(None);
            }
            pause(POLL_INTERVAL).await;
        }
    }

    /// Fails if the store ignores the conditions of requests, because such a lease would not exclude other processes.
    /// To test the conditions, the object is created again, which must fail.
    async fn ensure_conditions(&self) -> Result<(), StoreError> {
        if self.store.put(&self.key, self.content_after(0), None).await?.is_none() {
            return Ok(());
        }
        self.store.delete(&self.key).await?;
        Err(StoreError::from(Kind::Unconditional).with_key(&self.key))
    }

    /// Renews the lease until the sender of `stop_signal` is dropped. Then releases it.
    async fn renew(self, mut held: StoredContent, mut stop_signal: oneshot::Receiver<()>, is_lost: Arc<AtomicBool>) {
        for renewals in 1.. {
            tokio::select! {
                _ = &mut stop_signal => break,
                () = pause(RENEWAL_INTERVAL) => {}
            }
            let outcome = tokio::select! {
                _ = &mut stop_signal => break,
                outcome = self.replace(self.content_after(renewals), &held) => outcome,
            };
            match outcome {
                Ok(Some(renewed)) => held = renewed,
                Ok(None) => {
                    is_lost.store(true, Ordering::Release);
                    return;
                }
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a lease was not renewed"),
            }
        }
        let release_outcome = timeout(RELEASE_TIMEOUT, self.replace(Bytes::from_static(RELEASED), &held)).await;
        if !matches!(release_outcome, Ok(Ok(_))) {
            tracing::debug!(outcome = ?release_outcome, "a lease was not released");
        }
    }

    /// Replaces the content of the held lease. Returns `None` if another process has taken the lease over.
    async fn replace(&self, content: Bytes, held: &StoredContent) -> Result<Option<StoredContent>, StoreError> {
        if let Some(replaced) = self.put(content.clone(), Some(held)).await? {
            return Ok(Some(replaced));
        }
        // The response to the previous renewal may have been lost.
        match self.store.get(&self.key).await {
            Ok(Some(current)) if self.is_own(&current) => self.put(content, Some(&current)).await,
            Err(error) if !error.is_denied() => Err(error),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::super::StoreKind;
    use super::super::faulty::FaultyStore;
    use super::*;
    use crate::retry::for_transfers;

    const NAME: &str = "lock";

    fn store() -> (Store, StoreAddress) {
        let (inner, retry) = (Arc::new(InMemory::new()), for_transfers());
        (Store::new(inner, StoreKind::Cloud, retry), "s3://results/study".parse().unwrap())
    }

    async fn acquire((store, address): &(Store, StoreAddress)) -> Result<StoreLease, FolderError> {
        StoreLease::acquire(store, address, NAME).await
    }

    #[tokio::test(start_paused = true)]
    async fn lease_excludes_others_until_it_is_released() {
        let store = store();
        let lease = acquire(&store).await.unwrap();
        let start = Instant::now();
        assert!(acquire(&store).await.unwrap_err().is_locked());
        assert!(start.elapsed() <= RENEWAL_INTERVAL + 2 * POLL_INTERVAL, "a renewal shows that the lease is held");
        pause(10 * EXPIRY_TIME).await;
        assert!(acquire(&store).await.unwrap_err().is_locked());
        lease.ensure_held().unwrap();
        lease.release().await;
        let start = Instant::now();
        drop(acquire(&store).await.unwrap());
        tokio::task::yield_now().await;
        acquire(&store).await.unwrap();
        assert!(start.elapsed() < POLL_INTERVAL, "a dropped lease is released");
    }

    #[tokio::test(start_paused = true)]
    async fn lease_of_a_killed_process_expires() {
        let store = store();
        let killed = acquire(&store).await.unwrap();
        killed.renewals.abort();
        let start = Instant::now();
        let lease = acquire(&store).await.unwrap();
        assert!((EXPIRY_TIME..EXPIRY_TIME + 2 * POLL_INTERVAL).contains(&start.elapsed()));
        lease.ensure_held().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn holder_notices_that_its_lease_was_taken_over() {
        let store = store();
        let lease = acquire(&store).await.unwrap();
        let key = store.1.key(NAME);
        let found = store.0.get(&key).await.unwrap();
        store.0.put_if_unchanged(&key, "other", found.as_ref()).await.unwrap().unwrap();
        pause(RENEWAL_INTERVAL * 2).await;
        assert!(lease.ensure_held().unwrap_err().is_locked());
        lease.release().await;
        assert_eq!(store.0.get(&key).await.unwrap().unwrap().content(), "other");
    }

    #[tokio::test(start_paused = true)]
    async fn lease_is_kept_if_the_response_to_a_renewal_was_lost() {
        let store = store();
        let lease = acquire(&store).await.unwrap();
        let key = store.1.key(NAME);
        let found = store.0.get(&key).await.unwrap().unwrap();
        // This version of the object stands for a renewal whose response the holder did not receive.
        let text = String::from_utf8(found.content().to_vec()).unwrap().replace(":0}", ":900}");
        store.0.put_if_unchanged(&key, text.clone(), Some(&found)).await.unwrap().unwrap();
        pause(RENEWAL_INTERVAL * 2).await;
        lease.ensure_held().unwrap();
        assert_ne!(store.0.get(&key).await.unwrap().unwrap().content(), &text, "the lease is renewed");
        // The same for the last renewal before the release.
        let found = store.0.get(&key).await.unwrap();
        store.0.put_if_unchanged(&key, text, found.as_ref()).await.unwrap().unwrap();
        lease.release().await;
        assert_eq!(store.0.get(&key).await.unwrap().unwrap().content(), RELEASED);
    }

    #[tokio::test(start_paused = true)]
    async fn unresponsive_store_delays_the_release_by_at_most_its_time_limit() {
        let faulty = Arc::new(FaultyStore::default());
        let store = (Store { inner: faulty.clone(), ..store().0 }, store().1);
        for is_renewing in [false, true] {
            let lease = acquire(&store).await.unwrap();
            faulty.set_hanging(true);
            if is_renewing {
                pause(RENEWAL_INTERVAL + POLL_INTERVAL).await;
            }
            let start = Instant::now();
            lease.release().await;
            assert!(start.elapsed() <= RELEASE_TIMEOUT, "{is_renewing}: {:?}", start.elapsed());
            faulty.set_hanging(false);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn store_that_ignores_conditions_is_refused() {
        let faulty = Arc::new(FaultyStore::default());
        let store = (Store { inner: faulty.clone(), ..store().0 }, store().1);
        faulty.ignore_conditions();
        let error = acquire(&store).await.unwrap_err();
        assert!(!error.is_locked() && !error.is_transient(), "{error}");
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        assert!(causes.into_iter().any(|cause| cause.to_string().contains("--no-lock")), "{error:?}");
        assert!(store.0.get(&store.1.key(NAME)).await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_of_many_processes_takes_over() {
        let store = store();
        acquire(&store).await.unwrap().renewals.abort();
        let all = (0..20).map(|_| acquire(&store));
        let acquired: Vec<_> = futures_util::future::join_all(all).await.into_iter().filter_map(Result::ok).collect();
        assert_eq!(acquired.len(), 1);
    }
}
