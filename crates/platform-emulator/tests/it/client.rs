//! A client of the emulator for tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth_http::{HttpClient, Method, Request, Response};
use platform_emulator::{AUDIENCE, BUCKET_REGION, DEVICE_CLIENT_ID, Emulator};
use platform_testkit::ManualClock;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use serde_json::{Value, json};
use url::Url;

const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Returns a clock that only the test advances.
pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)))
}

/// A user of an emulator.
pub(crate) struct User {
    pub(crate) emulator: Arc<Emulator>,
    http: HttpClient,
    token: String,
}

impl User {
    /// Starts an emulator and logs in.
    pub(crate) async fn new() -> Self {
        Self::logged_in_to(Emulator::start().await.unwrap()).await
    }

    /// Logs in to an emulator as its first user.
    pub(crate) async fn logged_in_to(emulator: Emulator) -> Self {
        let mut user = Self::anonymous_of(emulator);
        user.log_in(None).await;
        user
    }

    /// Starts an emulator.
    pub(crate) async fn anonymous() -> Self {
        Self::anonymous_of(Emulator::start().await.unwrap())
    }

    /// Returns a user of an emulator who has not logged in.
    pub(crate) fn anonymous_of(emulator: Emulator) -> Self {
        Self::with_http_client(emulator, HttpClient::builder().with_plain_loopback().build().unwrap())
    }

    /// Returns a user who has not logged in and uses this HTTP client.
    pub(crate) fn with_http_client(emulator: Emulator, http: HttpClient) -> Self {
        Self { emulator: Arc::new(emulator), http, token: String::new() }
    }

    /// Logs in as the user with this id, or as the first user.
    pub(crate) async fn log_in(&mut self, id: Option<&str>) {
        let device = self.start_login().await;
        let mut form = vec![("user_code", device["user_code"].as_str().unwrap()), ("decision", "approve")];
        form.extend(id.map(|id| ("user", id)));
        assert_eq!(self.post_form("/activate", &form).await.0, 200);
        let (status, granted) = self.redeem_device_code(device["device_code"].as_str().unwrap()).await;
        assert_eq!(status, 200, "{granted}");
        granted["access_token"].as_str().unwrap().clone_into(&mut self.token);
    }

    /// Logs in to the same emulator as another user.
    pub(crate) async fn other_user(&self, id: &str) -> Self {
        let mut other = Self { emulator: self.emulator.clone(), http: self.http.clone(), token: String::new() };
        other.log_in(Some(id)).await;
        other
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    pub(crate) async fn send(&self, request: Request) -> Response {
        self.http.send(request).await.unwrap()
    }

    /// Sends a request, and returns the response without decompression.
    pub(crate) async fn send_without_decompression(&self, request: Request) -> Response {
        let http = HttpClient::builder().with_plain_loopback().without_decompression().build().unwrap();
        http.send(request).await.unwrap()
    }

    /// Sends a form to the identity provider.
    pub(crate) async fn post_form(&self, path: &str, form: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let url = self.emulator.issuer().join(path).unwrap();
        read(self.send(Request::new(Method::Post, url).with_body("application/x-www-form-urlencoded", body)).await)
            .await
    }

    pub(crate) async fn start_login(&self) -> Value {
        let form = [("client_id", DEVICE_CLIENT_ID), ("audience", AUDIENCE), ("scope", "offline_access")];
        let (status, body) = self.post_form("/oauth/device/code", &form).await;
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    }

    /// Decides about a device login as the first user. Returns the status.
    pub(crate) async fn decide_device_login(&self, user_code: &str, decision: &str) -> u16 {
        self.post_form("/activate", &[("user_code", user_code), ("decision", decision)]).await.0
    }

    pub(crate) async fn redeem_device_code(&self, device_code: &str) -> (u16, Value) {
        let grant_type = "urn:ietf:params:oauth:grant-type:device_code";
        let form = [("grant_type", grant_type), ("client_id", DEVICE_CLIENT_ID), ("device_code", device_code)];
        let (status, body) = self.post_form("/oauth/token", &form).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = read(self.send(self.authorized(Method::Get, path)).await).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Sends JSON to the API.
    pub(crate) async fn send_json(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let request = self.authorized(method, path).with_body("application/json", body.to_string());
        let (status, body) = read(self.send(request).await).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Fetches a list, and returns the ids of its entries.
    pub(crate) async fn list_ids(&self, path: &str, id_field: &str) -> Vec<String> {
        let (status, list) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {list}");
        list.as_array().unwrap().iter().map(|entry| entry[id_field].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn submit(&self, submission: &Value) -> (u16, Value) {
        self.send_json(Method::Post, "/api/v1/runs", submission).await
    }

    /// Returns a request to the API with the token of the user.
    pub(crate) fn authorized(&self, method: Method, path: &str) -> Request {
        let url = self.emulator.api_root().join(path).unwrap();
        Request::new(method, url).with_header("authorization", format!("Bearer {}", self.token))
    }

    pub(crate) async fn bucket(&self) -> SignedBucket {
        let (_, me) = self.get("/api/v1/me").await;
        let organization = &me["organization"];
        let text = |name: &str| organization[name].as_str().unwrap().to_owned();
        let name = text("aignostics_bucket_name");
        SignedBucket {
            bucket: Bucket::new(self.emulator.storage().clone(), UrlStyle::Path, name, BUCKET_REGION).unwrap(),
            credentials: Credentials::new(
                text("aignostics_bucket_hmac_access_key_id"),
                text("aignostics_bucket_hmac_secret_access_key"),
            ),
        }
    }

    /// Uploads a slide, and returns an item for a submission with it.
    pub(crate) async fn upload_item(&self, external_id: &str, slide: Vec<u8>, metadata: Value) -> Value {
        let bucket = self.bucket().await;
        let put = Request::new(Method::Put, bucket.put(external_id, HOUR)).with_body("image/tiff", slide);
        assert_eq!(self.send(put).await.status(), 200);
        json!({ "external_id": external_id, "input_artifacts": [
            { "name": "whole_slide_image", "download_url": bucket.get(external_id, WEEK).as_str(), "metadata": metadata },
        ] })
    }

    /// Submits a run of the application `tissue`, waits for its end, and returns the run and its items.
    pub(crate) async fn run_tissue(&self, items: Vec<Value>) -> (Value, Vec<Value>) {
        let (status, submitted) = self.submit(&json!({ "application_id": "tissue", "items": items })).await;
        assert_eq!(status, 201, "{submitted}");
        let id = submitted["run_id"].as_str().unwrap();
        let run = self.wait_for_end(id).await;
        let (_, items) = self.get(&format!("/api/v1/runs/{id}/items")).await;
        (run, items.as_array().unwrap().clone())
    }

    /// Polls a run until it ends, and returns it.
    pub(crate) async fn wait_for_end(&self, id: &str) -> Value {
        let path = format!("/api/v1/runs/{id}");
        let poll = async {
            loop {
                let (_, run) = self.get(&path).await;
                if run["state"] == "TERMINATED" {
                    return run;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), poll).await.unwrap()
    }

    /// Downloads the file of an artifact by following the redirect.
    pub(crate) async fn download_artifact(&self, run: &Value, artifact: &Value) -> Vec<u8> {
        let run_id = run["run_id"].as_str().unwrap();
        let artifact_id = artifact["output_artifact_id"].as_str().unwrap();
        let path = format!("/api/v1/runs/{run_id}/artifacts/{artifact_id}/file");
        let redirect = self.send(self.authorized(Method::Get, &path)).await;
        assert_eq!((redirect.status(), redirect.header("cache-control")), (307, Some("no-store")));
        let url: Url = redirect.header("location").unwrap().parse().unwrap();
        let (status, body) = read(self.send(Request::get(url)).await).await;
        assert_eq!(status, 200);
        body
    }
}

/// The bucket of the user's organization. Its URLs are signed by a library that the emulator does not use.
pub(crate) struct SignedBucket {
    pub(crate) bucket: Bucket,
    pub(crate) credentials: Credentials,
}

impl SignedBucket {
    pub(crate) fn put(&self, key: &str, lifetime: Duration) -> Url {
        self.bucket.put_object(Some(&self.credentials), key).sign(lifetime)
    }

    pub(crate) fn get(&self, key: &str, lifetime: Duration) -> Url {
        self.bucket.get_object(Some(&self.credentials), key).sign(lifetime)
    }

    /// Returns a signed URL for any path of the storage; `query` must be sorted.
    pub(crate) fn sign(&self, method: rusty_s3::Method, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.bucket.base_url().clone();
        url.set_path(path);
        let (key, secret) = (self.credentials.key(), self.credentials.secret());
        let (now, query, headers) = (jiff::Timestamp::now(), query.iter().copied(), std::iter::empty());
        rusty_s3::signing::sign(&now, method, url, key, secret, None, BUCKET_REGION, HOUR.as_secs(), query, headers)
    }
}

/// Reads a response. Returns its status and body.
pub(crate) async fn read(response: Response) -> (u16, Vec<u8>) {
    (response.status(), response.bytes(64 * 1024 * 1024).await.unwrap().to_vec())
}
