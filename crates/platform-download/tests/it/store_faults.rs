//! Transfers into a failing store: the result is a correct object or an error, never a wrong object.
//!
//! Each fault is injected into each kind of request, at different moments. The same transfer succeeds after the fault
//! is removed.

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

/// The sizes of a small file, which one request stores, and of a large file with three parts.
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

/// A storage with a file to transfer, and a store.
struct Lab {
    storage: Storage,
    store: Store,
    original: Original,
    content: Vec<u8>,
}

impl Lab {
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

    /// Fetches with a fault, and again without it. If `has_old` is true, another object exists under the key.
    async fn check_fault(&self, method: &str, fault: Fault, has_old: bool) {
        let case = format!("{method} {fault:?} of {} bytes, {has_old}", self.content.len());
        self.storage.bucket.delete([KEY]).await;
        if has_old {
            self.storage.put(KEY, OLD).await;
        }
        self.storage.fault(Effect::Latency { milliseconds: 0 }, |_| fault).await;
        let outcome = self.fetch().await;
        self.storage.control.clear_faults().await.unwrap();
        let object = self.storage.get(KEY).await;
        let is_new = object.as_ref() == Some(&self.content);
        let is_old = object.as_deref() == has_old.then_some(OLD);
        assert!(is_new || is_old, "{case}: a wrong object");
        assert!(is_new || outcome.is_err(), "{case}: success, but nothing was stored");
        if let Err(error) = &outcome {
            let output = format!("{error} {error:?}");
            assert!(!error.is_corrupt() && !output.contains("Signature="), "{case}: {output}");
        }
        let request_count = self.source_request_count().await;
        assert_eq!(self.fetch().await.unwrap(), is_new, "{case}: a new object is not fetched again");
        assert_eq!(self.source_request_count().await - request_count, usize::from(!is_new), "{case}");
        assert!(self.storage.get(KEY).await.as_ref() == Some(&self.content), "{case}: the second call");
    }

    async fn source_request_count(&self) -> usize {
        self.storage.requests("GET").await.iter().filter(|entry| entry.path.ends_with("/original")).count()
    }
}

#[tokio::test]
async fn faults_of_the_store_never_leave_a_wrong_object() {
    // The methods of the requests with their numbers. Only a large file needs POST requests, for its multipart upload.
    let [small, large] = SIZES;
    for (size, methods) in [(small, &[("HEAD", 2), ("PUT", 1)][..]), (large, &[("HEAD", 2), ("POST", 2), ("PUT", 3)])] {
        let lab = Lab::with(size).await;
        let is_similar =
            |effect: &Effect| matches!(effect, Effect::Throttle { .. } | Effect::Status { status: 404 | 500, .. });
        for effect in effects().into_iter().filter(|effect| size == small || !is_similar(effect)) {
            for (method, requests) in methods.iter().copied() {
                for after in 0..requests {
                    let fault = Fault::new(effect.clone()).with_method(method).with_path(PATH).after(after).times(1);
                    lab.check_fault(method, fault.on(platform_emulator::Server::Storage), after == 1).await;
                }
            }
            lab.storage.control.clear_journal().await.unwrap();
        }
    }
}

#[tokio::test]
async fn old_object_remains_if_the_store_keeps_failing() {
    for size in SIZES {
        let lab = Lab::with(size).await;
        for effect in [Effect::Status { status: 503, body: None }, Effect::Status { status: 403, body: None }] {
            for after in [0, 1] {
                lab.storage.put(KEY, OLD).await;
                let fault = Fault::new(effect.clone()).with_method("PUT").with_path(PATH).after(after);
                lab.storage.fault(effect.clone(), |_| fault.on(platform_emulator::Server::Storage)).await;
                let outcome = lab.fetch().await;
                lab.storage.control.clear_faults().await.unwrap();
                // A small file needs only the first request.
                if after == 0 || size > 8 * MEBIBYTE {
                    let error = outcome.unwrap_err();
                    assert!(error.is_store() && !error.is_corrupt(), "{error}");
                    assert_eq!(error.is_denied(), matches!(effect, Effect::Status { status: 403, .. }), "{error}");
                    assert_eq!(lab.storage.get(KEY).await.unwrap(), OLD, "{effect:?}");
                }
                lab.fetch().await.unwrap();
                assert!(lab.storage.get(KEY).await.as_ref() == Some(&lab.content));
            }
        }
    }
}

#[tokio::test]
async fn simultaneous_faults_never_store_a_wrong_object() {
    let lab = Lab::with(20 * MEBIBYTE).await;
    let mut random = fastrand::Rng::with_seed(29);
    for round in 0..20 {
        lab.storage.bucket.delete([KEY]).await;
        let offset = random.u64(0..20 * MEBIBYTE as u64);
        let source_effect = [
            Effect::Reset { after_bytes: offset },
            Effect::Truncate { after_bytes: offset },
            Effect::Corrupt { at_byte: offset },
            Effect::Status { status: 503, body: None },
            Effect::ExpiredSignature,
        ];
        let source_effect = source_effect[random.usize(..source_effect.len())].clone();
        lab.storage.fault(source_effect.clone(), |fault| fault.with_path("*/original").times(1)).await;
        let mut store_effect = effects();
        store_effect.retain(|effect| !matches!(effect, Effect::Status { status: 404, .. }));
        let store_effect = store_effect.swap_remove(random.usize(..store_effect.len()));
        let after = random.u32(0..4);
        lab.storage.fault(store_effect.clone(), |fault| fault.with_path(PATH).after(after).times(2)).await;
        let outcome = lab.fetch().await;
        lab.storage.control.clear_faults().await.unwrap();
        let object = lab.storage.get(KEY).await;
        assert!(
            object.is_none() || object.as_ref() == Some(&lab.content),
            "round {round}: {source_effect:?} {store_effect:?}"
        );
        assert!(object.is_some() || outcome.is_err(), "round {round}: {source_effect:?} {store_effect:?}");
        lab.fetch().await.unwrap();
        assert!(lab.storage.get(KEY).await.as_ref() == Some(&lab.content), "round {round}");
    }
}
