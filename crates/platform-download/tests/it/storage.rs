//! The emulator's storage, and a bucket in it.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{Clock, Secret, SystemClock};
use auth_http::{HttpClient, Method, Request};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use platform_download::{Bucket, RetryPolicy, ServiceAccountKey, UrlSigner};
use platform_emulator::{BUCKET_REGION, Control, Effect, Emulator, Fault, INTERACTIVE_CLIENT_ID, JournalEntry, Server};
use serde_json::{Value, json};
use url::Url;

use crate::http;

/// An emulator whose storage has a bucket.
pub(crate) struct Storage {
    pub(crate) emulator: Emulator,
    pub(crate) control: Control,
    pub(crate) bucket: Bucket,
    http: HttpClient,
    /// The id and the secret of the HMAC key.
    key: (String, Secret),
    clock: Arc<dyn Clock>,
}

impl Storage {
    /// Starts a storage whose bucket signs with the organization's HMAC key.
    pub(crate) async fn start() -> Self {
        Self::with_clock(Arc::new(SystemClock)).await
    }

    /// Starts a storage whose signer uses this clock.
    pub(crate) async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let emulator = Emulator::builder().with_control().start().await.unwrap();
        let me = fetch_me(&emulator).await;
        let bucket_setting =
            |name: &str| me["organization"][format!("aignostics_bucket_{name}")].as_str().unwrap().to_owned();
        let key = (bucket_setting("hmac_access_key_id"), Secret::new(bucket_setting("hmac_secret_access_key")));
        let http = http();
        let bucket = bucket(&http, emulator.storage(), &key, clock.clone());
        Self { control: emulator.control().unwrap(), emulator, bucket, http, key, clock }
    }

    /// Returns a policy with few, short retries.
    pub(crate) fn retry() -> RetryPolicy {
        RetryPolicy::default().with_attempts(5).with_backoff(Duration::from_millis(1), Duration::from_millis(10))
    }

    /// Returns the same bucket at another endpoint.
    pub(crate) fn bucket_at(&self, endpoint: &Url) -> Bucket {
        bucket(&self.http, endpoint, &self.key, self.clock.clone())
    }

    /// Returns a signer for the same bucket with the key of a service account.
    pub(crate) async fn service_account(&self) -> UrlSigner {
        let account = self.emulator.service_account("org_emulator").await.unwrap();
        let json = json!({ "client_email": account.client_email, "private_key": account.private_key });
        let key = ServiceAccountKey::from_json(json.to_string().as_bytes()).unwrap();
        UrlSigner::service_account(self.emulator.storage(), key, Arc::new(SystemClock)).unwrap()
    }

    /// Injects a fault into the storage.
    pub(crate) async fn fault(&self, effect: Effect, set: impl FnOnce(Fault) -> Fault) {
        self.control.inject(&set(Fault::new(effect).on(Server::Storage))).await.unwrap();
    }

    pub(crate) async fn requests(&self, method: &str) -> Vec<JournalEntry> {
        let all = self.control.journal(Server::Storage).await.unwrap();
        all.into_iter().filter(|entry| entry.method == method).collect()
    }

    pub(crate) async fn put(&self, key: &str, content: impl Into<Bytes>) {
        let url = self.bucket.put_url(key, None).unwrap();
        let put = Request::new(Method::Put, url.expose().clone()).with_body("text/plain", content);
        assert_eq!(self.http.send(put).await.unwrap().status(), 200, "{key}");
    }

    pub(crate) async fn put_all(&self, keys: impl IntoIterator<Item = String>) {
        stream::iter(keys).for_each_concurrent(16, async |key| self.put(&key, key.clone()).await).await;
    }

    /// Returns the content of an object.
    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let url = self.bucket.get_url(key, None).unwrap();
        let response = self.http.send(Request::get(url.expose().clone())).await.unwrap();
        let exists = match response.status() {
            200 => true,
            404 => false,
            status => panic!("{key}: {status}"),
        };
        let body = response.bytes(128 * 1024 * 1024).await.unwrap();
        exists.then(|| body.to_vec())
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        self.bucket.list("").map_ok(|entry| entry.key).try_collect().await.unwrap()
    }
}

fn bucket(http: &HttpClient, endpoint: &Url, (id, secret): &(String, Secret), clock: Arc<dyn Clock>) -> Bucket {
    let signer = UrlSigner::hmac(endpoint, BUCKET_REGION, id, secret, clock).unwrap();
    Bucket::new(http.clone(), signer, "emulator-bucket").with_retry(Storage::retry())
}

/// Returns the response to `/me` for the first user. It contains the keys of the bucket.
async fn fetch_me(emulator: &Emulator) -> Value {
    let token = emulator.refresh_token("auth0|emulator-1").await.unwrap();
    let form = format!("grant_type=refresh_token&client_id={INTERACTIVE_CLIENT_ID}&refresh_token={token}");
    let token_request = Request::new(Method::Post, emulator.issuer().join("/oauth/token").unwrap());
    let token_response = fetch_json(token_request.with_body("application/x-www-form-urlencoded", form)).await;
    let bearer = format!("Bearer {}", token_response["access_token"].as_str().unwrap());
    fetch_json(Request::get(emulator.api_root().join("/api/v1/me").unwrap()).with_header("authorization", bearer)).await
}

async fn fetch_json(request: Request) -> Value {
    serde_json::from_slice(&http().send(request).await.unwrap().bytes(100_000).await.unwrap()).unwrap()
}
