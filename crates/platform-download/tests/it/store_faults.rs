//! Transfers into a failing store: the result is a correct object or an error, never a wrong object.
//!
//! Each fault meets each kind of request, at different moments. After it, the same transfer completes.

use platform_download::{Crc32c, Expected, Store};
use platform_emulator::{Effect, Fault};

use crate::http;
use crate::storage::Storage;
use crate::store::Original;
use crate::upload::content;

const MEBIBYTE: usize = 1 << 20;
const KEY: &str = "run/file.csv";
/// The path of the object in the storage.
const PATH: &str = "*/run/file.csv*";
const OLD: &[u8] = b"the good old object";

/// A small file is stored by one request, and a large one in three parts.
const SIZES: [usize; 2] = [1000, 17 * MEBIBYTE];

fn effects() -> Vec<Effect> {
    let status = |status| Effect::Status { status, body: None };
    vec![
        status(503),
        status(500),
        status(403),
        status(404),
        Effect::Throttle { status: 429, retry_after_seconds: 0, as_date: false },
        Effect::Reset { after_bytes: 0 },
        Effect::Truncate { after_bytes: 0 },
        Effect::Truncate { after_bytes: 20 },
        Effect::ResetRequest { after_bytes: 0 },
        Effect::ResetRequest { after_bytes: 500 },
        Effect::Latency { milliseconds: 20 },
    ]
}

struct Table {
    storage: Storage,
    store: Store,
    original: Original,
    content: Vec<u8>,
}

impl Table {
    async fn with(size: usize) -> Self {
        let storage = Storage::start().await;
        let content = content(1, size);
        storage.put("original", content.clone()).await;
        let store = Store::bucket(storage.bucket.clone()).unwrap();
        let original = Original(storage.bucket.clone());
        Self { storage, store, original, content }
    }

    async fn fetch(&self) -> Result<bool, platform_download::StoreError> {
        let expected = Expected::new(Crc32c::of(&self.content)).with_bytes(self.content.len() as u64);
        let stored = self.store.fetch(&http(), &self.original, expected, KEY, &|_| ()).await?;
        Ok(stored.already_present)
    }

    /// Fetches with a fault, and again without it. `has_old`: the key has another object before.
    async fn check(&self, method: &str, fault: Fault, has_old: bool) {
        let what = format!("{method} {fault:?} of {} bytes, {has_old}", self.content.len());
        self.storage.bucket.delete([KEY]).await;
        if has_old {
            self.storage.put(KEY, OLD).await;
        }
        self.storage.fault(Effect::Latency { milliseconds: 0 }, |_| fault).await;
        let outcome = self.fetch().await;
        self.storage.control.clear_faults().await.unwrap();
        let found = self.storage.get(KEY).await;
        let is_right = found.as_ref() == Some(&self.content);
        let is_old = found.as_deref() == has_old.then_some(OLD);
        assert!(is_right || is_old, "{what}: a wrong object");
        assert!(is_right || outcome.is_err(), "{what}: nothing was stored");
        if let Err(error) = &outcome {
            let shown = format!("{error} {error:?}");
            assert!(!error.is_corrupt() && !shown.contains("Signature="), "{what}: {shown}");
        }
        let gets = self.gets().await;
        assert_eq!(self.fetch().await.unwrap(), is_right, "{what}: an object that is right is not fetched again");
        assert_eq!(self.gets().await - gets, usize::from(!is_right), "{what}");
        assert!(self.storage.get(KEY).await.as_ref() == Some(&self.content), "{what}: the second call");
    }

    async fn gets(&self) -> usize {
        self.storage.requests("GET").await.iter().filter(|entry| entry.path.ends_with("/original")).count()
    }
}

#[tokio::test]
async fn faults_of_the_store_never_leave_a_wrong_object() {
    // The requests of each method; those for parts and their completion are only made for a large file.
    let [small, large] = SIZES;
    for (size, methods) in [(small, &[("HEAD", 2), ("PUT", 1)][..]), (large, &[("HEAD", 2), ("POST", 2), ("PUT", 3)])] {
        let table = Table::with(size).await;
        let is_similar =
            |effect: &Effect| matches!(effect, Effect::Throttle { .. } | Effect::Status { status: 404 | 500, .. });
        for effect in effects().into_iter().filter(|effect| size == small || !is_similar(effect)) {
            for (method, requests) in methods.iter().copied() {
                for after in 0..requests {
                    let fault = Fault::new(effect.clone()).with_method(method).with_path(PATH).after(after).times(1);
                    table.check(method, fault.on(platform_emulator::Server::Storage), after == 1).await;
                }
            }
            table.storage.control.clear_journal().await.unwrap();
        }
    }
}

#[tokio::test]
async fn store_that_fails_until_the_end_is_reported_and_the_old_object_remains() {
    for size in SIZES {
        let table = Table::with(size).await;
        for effect in [Effect::Status { status: 503, body: None }, Effect::Status { status: 403, body: None }] {
            for after in [0, 1] {
                table.storage.put(KEY, OLD).await;
                let fault = Fault::new(effect.clone()).with_method("PUT").with_path(PATH).after(after);
                table.storage.fault(effect.clone(), |_| fault.on(platform_emulator::Server::Storage)).await;
                let outcome = table.fetch().await;
                table.storage.control.clear_faults().await.unwrap();
                // A small file needs only the first request.
                if after == 0 || size > 8 * MEBIBYTE {
                    let error = outcome.unwrap_err();
                    assert!(error.is_store() && !error.is_corrupt(), "{error}");
                    assert_eq!(error.is_denied(), matches!(effect, Effect::Status { status: 403, .. }), "{error}");
                    assert_eq!(table.storage.get(KEY).await.unwrap(), OLD, "{effect:?}");
                }
                table.fetch().await.unwrap();
                assert!(table.storage.get(KEY).await.as_ref() == Some(&table.content));
            }
        }
    }
}

#[tokio::test]
async fn faults_of_source_and_store_together_end_in_the_right_object() {
    let table = Table::with(20 * MEBIBYTE).await;
    let mut random = fastrand::Rng::with_seed(29);
    for round in 0..20 {
        table.storage.bucket.delete([KEY]).await;
        let late = random.u64(0..20 * MEBIBYTE as u64);
        let of_source = [
            Effect::Reset { after_bytes: late },
            Effect::Truncate { after_bytes: late },
            Effect::Corrupt { at_byte: late },
            Effect::Status { status: 503, body: None },
            Effect::ExpiredSignature,
        ];
        let of_source = of_source[random.usize(..of_source.len())].clone();
        table.storage.fault(of_source.clone(), |fault| fault.with_path("*/original").times(1)).await;
        let mut of_store = effects();
        of_store.retain(|effect| !matches!(effect, Effect::Status { status: 404, .. }));
        let of_store = of_store.swap_remove(random.usize(..of_store.len()));
        let after = random.u32(0..4);
        table.storage.fault(of_store.clone(), |fault| fault.with_path(PATH).after(after).times(2)).await;
        let outcome = table.fetch().await;
        table.storage.control.clear_faults().await.unwrap();
        let found = table.storage.get(KEY).await;
        assert!(found.is_none() || found.as_ref() == Some(&table.content), "round {round}: {of_source:?} {of_store:?}");
        assert!(found.is_some() || outcome.is_err(), "round {round}: {of_source:?} {of_store:?}");
        table.fetch().await.unwrap();
        assert!(table.storage.get(KEY).await.as_ref() == Some(&table.content), "round {round}");
    }
}
