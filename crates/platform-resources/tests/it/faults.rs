//! After network faults, calls end in time with a response or an error, and a run is submitted at most once.

use std::time::Duration;

use futures_util::TryStreamExt;
use platform_emulator::{Effect, Emulator, Fault, Server};
use platform_resources::{Client, Error};

use crate::lab::{Lab, settings};

/// The deadline of all attempts of a call.
const DEADLINE: Duration = Duration::from_millis(800);
/// The time after which a call is considered to hang.
const HANG_TIMEOUT: Duration = Duration::from_secs(120);

fn effects() -> Vec<Effect> {
    vec![
        Effect::Latency { milliseconds: 60_000 },
        Effect::Latency { milliseconds: 5 },
        Effect::Status { status: 200, body: None },
        Effect::Status { status: 200, body: Some("{".repeat(1000)) },
        Effect::Status { status: 204, body: None },
        Effect::Status { status: 302, body: None },
        Effect::Status { status: 401, body: Some("Jwt is missing".to_owned()) },
        Effect::Status { status: 404, body: None },
        Effect::Status { status: 429, body: None },
        Effect::Status { status: 500, body: Some("\u{fffd}".to_owned()) },
        Effect::Reset { after_bytes: 0 },
        Effect::Reset { after_bytes: 10 },
        Effect::Truncate { after_bytes: 0 },
        Effect::Truncate { after_bytes: 10 },
        Effect::Stall { after_bytes: 0 },
        Effect::Stall { after_bytes: 10 },
        Effect::Corrupt { at_byte: 0 },
        Effect::Corrupt { at_byte: 20 },
        Effect::Bandwidth { bytes_per_second: 1 },
        Effect::Novelty,
    ]
}

/// Returns a client with short timeouts.
fn client(lab: &Lab) -> Client {
    let mut settings = settings(&lab.emulator);
    for group in [&mut settings.me, &mut settings.application, &mut settings.application_version, &mut settings.run] {
        group.timeout = Duration::from_millis(200);
        group.wait_max = Some(Duration::from_millis(2));
    }
    settings.health_timeout = Duration::from_millis(200);
    settings.run_submit_timeout = Duration::from_millis(200);
    let client = Client::builder(settings).with_tokens(lab.tokens.clone()).build().unwrap();
    client.with_deadline(DEADLINE).no_cache()
}

async fn inject(lab: &Lab, effect: &Effect, method: &str, path: &str) {
    let control = lab.emulator.control().unwrap();
    let fault = Fault::new(effect.clone()).on(Server::Api).with_method(method).with_path(path);
    control.inject(&fault).await.unwrap();
}

#[tokio::test]
async fn read_with_a_fault_ends_with_a_response_or_an_error() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let run = lab.client.runs().submit(lab.submission(&slides[..1]).await).await.unwrap();
    run.wait(None).await.unwrap();
    let (mut responses, mut errors) = (0, 0);
    for effect in effects() {
        let client = client(&lab);
        inject(&lab, &effect, "GET", "*").await;
        let reads = async {
            let me: Result<_, Error> = client.me().await.map(drop);
            let run = client.run(run.id().as_str()).no_wait();
            let items = run.items().try_collect::<Vec<_>>().await.map(drop);
            let applications = client.applications().list().try_collect::<Vec<_>>().await.map(drop);
            let health = client.health().await.map(drop);
            [me, run.get().await.map(drop), items, applications, health]
        };
        let outcomes = tokio::time::timeout(HANG_TIMEOUT, reads).await;
        for outcome in outcomes.unwrap_or_else(|_| panic!("{effect:?} hangs")) {
            match outcome {
                Ok(()) => responses += 1,
                Err(error) => {
                    errors += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
        lab.emulator.control().unwrap().clear_faults().await.unwrap();
    }
    // On a busy machine, more calls end with an error.
    assert!(responses > 0 && errors > 50, "{responses} responses, {errors} errors");
}

#[tokio::test]
async fn submission_is_accepted_at_most_once() {
    let config = toml::from_str("replica_lag_ms = 0").unwrap();
    let lab = Lab::at(Emulator::builder().with_control().with_config(config)).await;
    let slides = lab.slides();
    let submission = lab.submission(&slides[..1]).await;
    let (mut accepted_before, mut error_count) = (0, 0);
    for effect in effects() {
        let client = client(&lab);
        lab.client.runs().dry_run(submission.clone()).await.unwrap();
        inject(&lab, &effect, "POST", "/api/v1/runs").await;
        let outcome = tokio::time::timeout(HANG_TIMEOUT, client.runs().submit(submission.clone())).await;
        error_count += usize::from(outcome.unwrap_or_else(|_| panic!("{effect:?} hangs")).is_err());
        lab.emulator.control().unwrap().clear_faults().await.unwrap();
        let accepted = lab.client.clone().no_cache().runs().list().try_collect::<Vec<_>>().await.unwrap().len();
        assert!(accepted - accepted_before <= 1, "{effect:?}: {accepted} runs, {accepted_before} before");
        accepted_before = accepted;
    }
    assert!(error_count > 10 && accepted_before > 0, "{error_count} errors, {accepted_before} accepted");
}
