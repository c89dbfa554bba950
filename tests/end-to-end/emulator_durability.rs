//! An emulator that is killed repeatedly while it works.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use auth_core::{Secret, SystemClock};
use auth_http::{Method, Request};
use platform_download::{Bucket, UrlSigner};
use serde_json::Value;
use tokio::runtime::Runtime;
use url::Url;

use crate::command::Sandbox;
use crate::emulator::{RunningEmulator, authorized, form, http, refresh, send, submission, token};

/// The changes that the emulator has acknowledged.
#[derive(Default)]
struct AcknowledgedChanges {
    runs: Vec<String>,
    /// The number of objects, each of which contains its number.
    objects: u32,
    /// The number in an object that is overwritten repeatedly.
    latest: u32,
    refresh_token: String,
}

const HOUR: Duration = Duration::from_secs(3600);

/// A user of a running emulator.
struct Session {
    running: RunningEmulator,
    token: String,
    bucket: Bucket,
}

impl Session {
    async fn of(running: RunningEmulator) -> Self {
        let token = token(&running).await;
        let bucket = bucket(&running, &token).await;
        Self { running, token, bucket }
    }

    fn put(&self, key: &str, number: u32) -> Request {
        let url = self.bucket.put_url(key, HOUR).unwrap().expose().clone();
        Request::new(Method::Put, url).with_body("text/plain", number.to_string())
    }

    async fn number(&self, key: &str) -> u32 {
        let (status, number) = send(Request::get(self.bucket.get_url(key, HOUR).unwrap().expose().clone())).await;
        assert_eq!(status, 200, "{key}");
        u32::try_from(number.as_u64().unwrap()).unwrap()
    }

    fn submit(&self) -> Request {
        let request = authorized(&self.running, &self.token, Method::Post, "/api/v1/runs");
        request.with_body("application/json", submission().to_string())
    }
}

pub(crate) async fn bucket(running: &RunningEmulator, token: &str) -> Bucket {
    let (_, me) = send(authorized(running, token, Method::Get, "/api/v1/me")).await;
    let bucket_property = |name: &str| me["organization"][format!("aignostics_bucket_{name}")].as_str().unwrap();
    let secret = Secret::new(bucket_property("hmac_secret_access_key"));
    let region = running.ready["env"]["AIGNOSTICS_BUCKET_REGION_NAME"].as_str().unwrap();
    let id = bucket_property("hmac_access_key_id");
    let signer = UrlSigner::hmac(&running.url("storage", "/"), region, id, &secret, Arc::new(SystemClock)).unwrap();
    Bucket::new(http(), signer, bucket_property("name"))
}

/// Logs in with the automatic login page, and returns the refresh token, which can be used once.
async fn log_in(running: &RunningEmulator) -> String {
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let (client, redirect) = (running.interactive_client(), "http://localhost:8989/");
    let mut url = running.url("issuer", "/authorize");
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", redirect),
        ("scope", "offline_access"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let response = http().send(Request::get(url)).await.unwrap();
    let callback_url: Url = response.header("location").unwrap().parse().unwrap();
    let code = callback_url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", &code),
        ("redirect_uri", redirect),
        ("code_verifier", VERIFIER),
    ];
    let (status, tokens) = send(form(running.url("issuer", "/oauth/token"), &fields)).await;
    assert_eq!(status, 200, "{tokens}");
    tokens["refresh_token"].as_str().unwrap().to_owned()
}

/// Submits, uploads, overwrites and refreshes concurrently, until this total number of changes is acknowledged.
async fn make_changes(session: &Session, changes: &mut AcknowledgedChanges, acknowledgements: u32) {
    let remaining = Cell::new(acknowledgements);
    let acknowledge = |(status, response): (u16, Value)| {
        assert!(matches!(status, 200 | 201), "{response}");
        remaining.set(remaining.get() - 1);
        response
    };
    let AcknowledgedChanges { runs, objects, latest, refresh_token } = changes;
    let submitting = async {
        while remaining.get() > 0 {
            let run = acknowledge(send(session.submit()).await);
            runs.push(run["run_id"].as_str().unwrap().to_owned());
        }
    };
    let uploading = async {
        while remaining.get() > 0 {
            acknowledge(send(session.put(&format!("object-{objects}"), *objects)).await);
            *objects += 1;
        }
    };
    let overwriting = async {
        while remaining.get() > 0 {
            acknowledge(send(session.put("latest", *latest + 1)).await);
            *latest += 1;
        }
    };
    let refreshing = async {
        while remaining.get() > 0 {
            let tokens = acknowledge(send(refresh(&session.running, refresh_token)).await);
            tokens["refresh_token"].as_str().unwrap().clone_into(refresh_token);
        }
    };
    // The task that receives the last acknowledgement stops all tasks. Pending requests of the others are abandoned.
    tokio::select! {
        () = submitting => {}
        () = uploading => {}
        () = overwriting => {}
        () = refreshing => {}
    }
}

/// Checks that all acknowledged changes exist, and that no object is incomplete.
async fn assert_nothing_is_lost(session: &Session, changes: &mut AcknowledgedChanges) {
    for run in &changes.runs {
        let path = format!("/api/v1/runs/{run}");
        assert_eq!(send(authorized(&session.running, &session.token, Method::Get, &path)).await.0, 200, "{run}");
    }
    for object in 0..changes.objects {
        assert_eq!(session.number(&format!("object-{object}")).await, object);
    }
    if changes.latest > 0 {
        let latest = session.number("latest").await;
        // Changes that were not acknowledged may have been written nevertheless.
        assert!(latest == changes.latest || latest == changes.latest + 1, "{latest}, not {}", changes.latest);
        changes.latest = latest;
    }
    let (status, tokens) = send(refresh(&session.running, &changes.refresh_token)).await;
    assert_eq!(status, 200, "{tokens}");
    tokens["refresh_token"].as_str().unwrap().clone_into(&mut changes.refresh_token);
}

#[test]
fn killed_emulator_keeps_acknowledged_changes() {
    let sandbox = Sandbox::new();
    let (data, config) = (sandbox.path("data"), sandbox.path("config.toml"));
    // The response to the last refresh can be lost. The previous token must then be accepted.
    std::fs::write(&config, "automatic_login = true\nrefresh_grace_seconds = 3600\nreplica_lag_ms = 0").unwrap();
    let arguments = ["--data-dir", data.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let runtime = Runtime::new().unwrap();
    let mut changes = AcknowledgedChanges::default();
    for acknowledgements in [1, 2, 3, 5, 8, 13, 21, 34] {
        let mut session = runtime.block_on(Session::of(RunningEmulator::start(&sandbox, &arguments)));
        if changes.refresh_token.is_empty() {
            changes.refresh_token = runtime.block_on(log_in(&session.running));
        }
        runtime.block_on(assert_nothing_is_lost(&session, &mut changes));
        runtime.block_on(make_changes(&session, &mut changes, acknowledgements));
        session.running.child.kill().unwrap();
        assert_eq!(session.running.child.wait().unwrap().code(), None, "killed");
    }
    let session = runtime.block_on(Session::of(RunningEmulator::start(&sandbox, &arguments)));
    runtime.block_on(assert_nothing_is_lost(&session, &mut changes));
    let AcknowledgedChanges { runs, objects, latest, .. } = &changes;
    assert!(runs.len() > 4 && *objects > 4 && *latest > 4, "{} {objects} {latest}", runs.len());
}
