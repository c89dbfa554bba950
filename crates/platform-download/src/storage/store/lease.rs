//! A lease in a store, which excludes other processes.
//!
//! - **A holder renews it** with a conditional request. If another process has taken it over, the holder notices at its next
//!   renewal.
//! - **A lease that is not renewed expires.** Another process takes it over after it has seen no renewal for some time, so
//!   that the clocks of the machines need not agree. A killed process blocks others only for this time.
//! - **An empty JSON object** is a lease that was released.

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
const RENEWAL: Duration = Duration::from_secs(5);
/// The time without a renewal after which a lease has expired. Several renewals can fail within it.
const EXPIRY: Duration = Duration::from_secs(20);
/// The interval at which a process that wants a lease reads it.
const POLL: Duration = Duration::from_secs(1);
/// The maximum time of a release.
const RELEASE: Duration = Duration::from_secs(5);

/// The content of a lease that was released.
const RELEASED: &[u8] = b"{}\n";

/// A lease in a store. It is released when it is dropped, if the runtime continues.
#[derive(Debug)]
pub struct StoreLease {
    place: String,
    is_lost: Arc<AtomicBool>,
    /// Dropping it ends the renewals.
    end: oneshot::Sender<()>,
    renewals: JoinHandle<()>,
}

impl StoreLease {
    /// Acquires the lease `name` below the prefix of an address. If its holder was killed, this takes up to 20 seconds. Must be
    /// called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`FolderError::is_locked`]: another process holds the lease. Otherwise the store cannot be read or written.
    pub async fn acquire(store: &Store, address: &StoreAddress, name: &str) -> Result<Self, FolderError> {
        let key = address.key(name);
        let lease = Content { store: store.clone(), key, owner: fastrand::u128(..) };
        let held = match lease.acquire().await {
            Ok(Some(held)) => match lease.ensure_conditions().await {
                Ok(()) => held,
                Err(error) => return Err(error.into_folder_error(&address.object(&lease.key))),
            },
            Ok(None) => return Err(FolderError::locked(address.to_string().as_ref())),
            Err(error) => return Err(error.into_folder_error(&address.object(&lease.key))),
        };
        let (end, ended) = oneshot::channel();
        let is_lost = Arc::new(AtomicBool::new(false));
        let renewals = tokio::spawn(lease.renew(held, ended, is_lost.clone()));
        Ok(Self { place: address.to_string(), is_lost, end, renewals })
    }

    /// Fails if the last renewal has shown that another process has taken over the lease.
    ///
    /// # Errors
    ///
    /// [`FolderError::is_locked`].
    pub fn ensure_held(&self) -> Result<(), FolderError> {
        if self.is_lost.load(Ordering::Acquire) { Err(FolderError::locked(self.place.as_ref())) } else { Ok(()) }
    }

    /// Releases the lease, in at most 5 seconds. If this fails, it expires.
    pub async fn release(self) {
        drop(self.end);
        // A task that panicked leaves the lease, too.
        let _ = self.renewals.await;
    }
}

/// The object of a lease, and the process that wants it.
struct Content {
    store: Store,
    key: String,
    owner: u128,
}

impl Content {
    /// Returns the content after a number of renewals. It differs each time, so that others see the renewal.
    fn after(&self, renewals: u64) -> Bytes {
        format!("{}{renewals}}}\n", self.start()).into()
    }

    fn start(&self) -> String {
        format!("{{\"owner\":\"{:032x}\",\"renewals\":", self.owner)
    }

    /// Returns true if this process has stored the content.
    fn is_own(&self, found: &StoredContent) -> bool {
        found.content().starts_with(self.start().as_bytes())
    }

    async fn put(&self, content: Bytes, found: Option<&StoredContent>) -> Result<Option<StoredContent>, StoreError> {
        self.store.put_if_unchanged(&self.key, content, found).await
    }

    /// Returns the stored lease, or `None` if another process holds it.
    async fn acquire(&self) -> Result<Option<StoredContent>, StoreError> {
        let mut seen: Option<(Bytes, Instant)> = None;
        loop {
            let (found, denied) = match self.store.get(&self.key).await {
                Err(error) if error.is_denied() => (None, Some(error)),
                found => (found?, None),
            };
            let current = found.as_ref().map(|found| found.content().clone()).filter(|content| content != RELEASED);
            let is_free = match (current, &seen) {
                (None, _) => true,
                (Some(current), Some((content, since))) if *content == current => since.elapsed() >= EXPIRY,
                (Some(current), None) => {
                    seen = Some((current, Instant::now()));
                    false
                }
                (Some(_), Some(_)) => return Ok(None),
            };
            if is_free {
                if let Some(held) = self.put(self.after(0), found.as_ref()).await? {
                    return Ok(Some(held));
                }
                if let Some(denied) = denied {
                    return Err(denied);
                }
                // Another process was faster.
                return Ok(None);
            }
            pause(POLL).await;
        }
    }

    /// Fails if the store ignores the conditions of requests, so that it cannot exclude other processes: it must not create
    /// the object of the lease again.
    async fn ensure_conditions(&self) -> Result<(), StoreError> {
        if self.store.put(&self.key, self.after(0), None).await?.is_none() {
            return Ok(());
        }
        self.store.delete(&self.key).await?;
        Err(StoreError::from(Kind::Unconditional).about(&self.key))
    }

    /// Renews the lease until `ended`, and releases it then.
    async fn renew(self, mut held: StoredContent, mut ended: oneshot::Receiver<()>, is_lost: Arc<AtomicBool>) {
        for renewals in 1.. {
            tokio::select! {
                _ = &mut ended => break,
                () = pause(RENEWAL) => {}
            }
            let renewed = tokio::select! {
                _ = &mut ended => break,
                renewed = self.replace(self.after(renewals), &held) => renewed,
            };
            match renewed {
                Ok(Some(renewed)) => held = renewed,
                Ok(None) => {
                    is_lost.store(true, Ordering::Release);
                    return;
                }
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a lease was not renewed"),
            }
        }
        let released = timeout(RELEASE, self.replace(Bytes::from_static(RELEASED), &held)).await;
        if !matches!(released, Ok(Ok(_))) {
            tracing::debug!(outcome = ?released, "a lease was not released");
        }
    }

    /// Replaces the content of the held lease. Returns `None` if another process has taken it over.
    async fn replace(&self, content: Bytes, held: &StoredContent) -> Result<Option<StoredContent>, StoreError> {
        if let Some(replaced) = self.put(content.clone(), Some(held)).await? {
            return Ok(Some(replaced));
        }
        // The response to the previous renewal may have been lost.
        match self.store.get(&self.key).await {
            Ok(Some(found)) if self.is_own(&found) => self.put(content, Some(&found)).await,
            Err(error) if !error.is_denied() => Err(error),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::super::Place;
    use super::super::faulty::FaultyStore;
    use super::*;
    use crate::retry::for_transfers;

    const NAME: &str = "lock";

    fn store() -> (Store, StoreAddress) {
        let (inner, retry) = (Arc::new(InMemory::new()), for_transfers());
        (Store::of(inner, Place::Cloud, retry), "s3://results/study".parse().unwrap())
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
        assert!(start.elapsed() <= RENEWAL + 2 * POLL, "a renewal shows that it is held");
        pause(10 * EXPIRY).await;
        assert!(acquire(&store).await.unwrap_err().is_locked());
        lease.ensure_held().unwrap();
        lease.release().await;
        let start = Instant::now();
        drop(acquire(&store).await.unwrap());
        tokio::task::yield_now().await;
        acquire(&store).await.unwrap();
        assert!(start.elapsed() < POLL, "it is released when it is dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn lease_of_a_killed_process_expires() {
        let store = store();
        let killed = acquire(&store).await.unwrap();
        killed.renewals.abort();
        let start = Instant::now();
        let lease = acquire(&store).await.unwrap();
        assert!((EXPIRY..EXPIRY + 2 * POLL).contains(&start.elapsed()));
        lease.ensure_held().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn holder_notices_that_its_lease_was_taken_over() {
        let store = store();
        let lease = acquire(&store).await.unwrap();
        let key = store.1.key(NAME);
        let found = store.0.get(&key).await.unwrap();
        store.0.put_if_unchanged(&key, "other", found.as_ref()).await.unwrap().unwrap();
        pause(RENEWAL * 2).await;
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
        // The holder does not know this version.
        let text = String::from_utf8(found.content().to_vec()).unwrap().replace(":0}", ":900}");
        store.0.put_if_unchanged(&key, text.clone(), Some(&found)).await.unwrap().unwrap();
        pause(RENEWAL * 2).await;
        lease.ensure_held().unwrap();
        assert_ne!(store.0.get(&key).await.unwrap().unwrap().content(), &text, "it is renewed");
        // The response to the last renewal is lost.
        let found = store.0.get(&key).await.unwrap();
        store.0.put_if_unchanged(&key, text, found.as_ref()).await.unwrap().unwrap();
        lease.release().await;
        assert_eq!(store.0.get(&key).await.unwrap().unwrap().content(), RELEASED);
    }

    #[tokio::test(start_paused = true)]
    async fn unresponsive_store_does_not_delay_the_end() {
        let faulty = Arc::new(FaultyStore::default());
        let store = (Store { inner: faulty.clone(), ..store().0 }, store().1);
        for is_renewing in [false, true] {
            let lease = acquire(&store).await.unwrap();
            faulty.hang(true);
            if is_renewing {
                pause(RENEWAL + POLL).await;
            }
            let start = Instant::now();
            lease.release().await;
            assert!(start.elapsed() <= RELEASE, "{is_renewing}: {:?}", start.elapsed());
            faulty.hang(false);
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
