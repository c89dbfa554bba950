//! A platform, and a client whose limits are scaled.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{Secret, TokenSource};
use auth_http::{HttpClient, HttpClientBuilder};
use auth_oauth::{Endpoints, OAuthClient, RefreshGrant};
use platform_download::Downloader;
use platform_emulator::{AUDIENCE, Emulator, INTERACTIVE_CLIENT_ID};
use platform_resources::models::{InputArtifactSubmission, ItemSubmission, RunSubmission};
use platform_resources::operations::SubmitRun;
use platform_resources::{Client, RunHandle, Settings};
use serde_json::json;

use crate::Plan;
use crate::outage::{FailingResolver, PlatformPart};

/// The user whose access tokens are revoked when an outage begins.
pub(crate) const USER: &str = "auth0|emulator-1";

/// The timeout of a request, and of a stalled transfer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The time in which a transfer must receive at least one byte.
const RATE_WINDOW: Duration = Duration::from_secs(20);

pub(crate) struct Platform {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    pub(crate) downloader: Downloader,
    /// The resolvers of the API, the storage and the identity provider.
    resolvers: [Arc<FailingResolver>; 3],
}

impl Platform {
    pub(crate) async fn start(plan: Plan) -> Self {
        let emulator = Emulator::builder().with_control().with_host("localhost").start().await.unwrap();
        let resolvers: [Arc<FailingResolver>; 3] = Default::default();
        let http = |part: usize| http_builder(&resolvers[part]).with_read_timeout(plan.scaled(REQUEST_TIMEOUT));
        let settings = settings(&emulator, plan);
        let client = Client::builder(settings.clone()).with_resolver(resolvers[0].clone());
        let client = client.with_tokens(tokens(&emulator, http(2), plan).await).build().unwrap();
        let storage = http(1).without_decompression().with_http1().with_hosts(client.hosts().clone()).build().unwrap();
        let backoff = (plan.scaled(Duration::from_millis(250)), plan.scaled(REQUEST_TIMEOUT));
        let downloader = Downloader::builder(storage)
            .with_retries(settings.retry.for_transfers().with_backoff(backoff.0, backoff.1))
            .with_minimum_rate(1, plan.scaled(RATE_WINDOW))
            .build()
            .unwrap();
        Self { emulator, client, downloader, resolvers }
    }

    pub(crate) fn resolver(&self, part: PlatformPart) -> &FailingResolver {
        match part {
            PlatformPart::Api => &self.resolvers[0],
            PlatformPart::Storage => &self.resolvers[1],
            PlatformPart::Identity => &self.resolvers[2],
        }
    }

    /// Returns a completed run with this number of files.
    pub(crate) async fn run(&self, files: usize) -> RunHandle {
        let metadata = json!({ "files": files }).as_object().unwrap().clone();
        let url = self.emulator.storage().join("a").unwrap();
        let slide = InputArtifactSubmission::new("whole_slide_image", Secret::new(url.to_string()), metadata);
        let submission = RunSubmission::new("many-files", vec![ItemSubmission::new("slide", vec![slide])]);
        let run = self.client.api().send(&SubmitRun::new(submission)).await.unwrap().run_id;
        let run = self.client.run(run);
        run.wait(None).await.unwrap();
        run
    }
}

fn http_builder(resolver: &Arc<FailingResolver>) -> HttpClientBuilder {
    HttpClient::builder().with_plain_loopback().with_resolver(resolver.clone())
}

fn settings(emulator: &Emulator, plan: Plan) -> Settings {
    let mut settings = Settings::at(emulator.api_root()).unwrap();
    settings.bucket.endpoint = emulator.storage().clone();
    settings.token_url = emulator.issuer().join("oauth/token").unwrap();
    for group in [
        &mut settings.auth,
        &mut settings.me,
        &mut settings.application,
        &mut settings.application_version,
        &mut settings.run,
    ] {
        group.timeout = plan.scaled(group.timeout);
        group.wait_min = Some(plan.scaled(Duration::from_millis(250)));
        group.wait_max = Some(plan.scaled(REQUEST_TIMEOUT));
    }
    let retry = &mut settings.retry;
    for limit in [&mut retry.limit, &mut retry.transfer_limit, &mut retry.unanswered_limit] {
        *limit = plan.scaled(*limit);
    }
    settings
}

async fn tokens(emulator: &Emulator, http: HttpClientBuilder, plan: Plan) -> TokenSource {
    let endpoints = Endpoints::auth0(emulator.issuer()).unwrap();
    let client = OAuthClient::new(http.build().unwrap(), endpoints, INTERACTIVE_CLIENT_ID).with_audience(AUDIENCE);
    let client = client.with_timeout(plan.scaled(REQUEST_TIMEOUT));
    let key = client.token_key().with_identity(USER).build();
    let secret = Secret::new(emulator.refresh_token(USER).await.unwrap());
    TokenSource::new(key, RefreshGrant::new(client).with_refresh_token(secret))
}
