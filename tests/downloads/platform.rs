//! A platform with one run that has ended.

use std::time::Duration;

use auth_core::{Secret, TokenSource};
use auth_http::{HttpClient, Method, Request};
use auth_oauth::{Endpoints, OAuthClient, RefreshGrant};
use platform_emulator::{AUDIENCE, Config, Emulator, INTERACTIVE_CLIENT_ID};
use platform_resources::models::{InputArtifactSubmission, ItemSubmission, RunSubmission};
use platform_resources::{Client, RunHandle, Settings};
use serde_json::{Map, Value, json};

const USER: &str = "auth0|emulator-1";

pub(crate) struct Platform {
    pub(crate) emulator: Emulator,
    pub(crate) tokens: TokenSource,
    client: Client,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        let mut config = Config::default();
        config.access_token_seconds = 24 * 3600;
        let emulator = Emulator::builder().with_config(config).with_control().start().await.unwrap();
        let endpoints = Endpoints::auth0(emulator.issuer()).unwrap();
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        let oauth = OAuthClient::new(http, endpoints, INTERACTIVE_CLIENT_ID).with_audience(AUDIENCE);
        let key = oauth.token_key().with_identity(USER).build();
        let secret = Secret::new(emulator.refresh_token(USER).await.unwrap());
        let tokens = TokenSource::new(key, RefreshGrant::new(oauth).with_refresh_token(secret));
        let mut settings = Settings::at(emulator.api_root()).unwrap();
        settings.bucket.endpoint = emulator.storage().clone();
        let client = Client::builder(settings).with_tokens(tokens.clone()).build().unwrap();
        Self { emulator, tokens, client }
    }

    /// Returns the bucket of the organization.
    pub(crate) async fn bucket(&self) -> platform_resources::Bucket {
        self.client.bucket().await.unwrap()
    }

    /// Returns a run of an application that has ended, with an item for each of these metadata. Items are numbered from
    /// `first` on.
    pub(crate) async fn run(
        &self,
        application: &str,
        metadata: impl Iterator<Item = Map<String, Value>>,
        first: usize,
    ) -> RunHandle {
        let item = |(number, mut metadata): (usize, Map<String, Value>)| {
            metadata.insert("checksum_base64_crc32c".to_owned(), json!("yZRlqg=="));
            let url = Secret::new("http://127.0.0.1:9/slide.tiff");
            let slide = InputArtifactSubmission::new("whole_slide_image", url, metadata);
            ItemSubmission::new(format!("cohort/slide-{:06}.tiff", first + number), vec![slide])
        };
        let submission = RunSubmission::new(application, metadata.enumerate().map(item).collect::<Vec<_>>());
        // The default timeout is too short for a long submission.
        let http = HttpClient::builder().with_plain_loopback().with_read_timeout(Duration::from_secs(3600));
        let bearer = format!("Bearer {}", self.tokens.token().await.unwrap().secret().expose());
        let request = Request::new(Method::Post, self.emulator.api_root().join("api/v1/runs").unwrap());
        let request = request.with_header("authorization", bearer);
        let request = request.with_body("application/json", serde_json::to_vec(&submission).unwrap());
        let response = http.build().unwrap().send(request).await.unwrap();
        assert_eq!(response.status(), 201);
        let submitted: Value = serde_json::from_slice(&response.bytes(100_000).await.unwrap()).unwrap();
        let run = self.client.run(submitted["run_id"].as_str().unwrap());
        run.wait(None).await.unwrap();
        run
    }
}
