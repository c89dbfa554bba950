//! Outages with a duration, `Retry-After`, interrupted requests, and runs that the platform cancels.

use std::time::Duration;

use auth_http::{Method, Request};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use platform_emulator::{Config, Control, Effect, Emulator, Fault, Server};
use serde_json::{Value, json};

use crate::client::{User, read};

const HOUR: Duration = Duration::from_secs(3600);
/// A timeout that is sufficient on any machine.
const DEADLINE: Duration = Duration::from_secs(120);

async fn user_with_control() -> (User, Control) {
    let user = User::logged_in_to(Emulator::builder().with_control().start().await.unwrap()).await;
    let control = user.emulator.control().unwrap();
    (user, control)
}

fn unavailable() -> Effect {
    Effect::Status { status: 503, body: None }
}

fn submission(items: usize) -> Value {
    let item = |number| crate::api::item(&format!("slide-{number}"), &json!({}));
    json!({ "application_id": "outcomes", "items": (0..items).map(item).collect::<Vec<_>>() })
}

#[tokio::test]
async fn outage_ends_after_its_duration_for_its_route() {
    let (user, control) = user_with_control().await;
    let outage = Fault::new(unavailable()).on(Server::Api).with_method("GET").with_path("/api/v1/me");
    control.inject(&outage.clone().with_duration(Duration::from_millis(300))).await.unwrap();
    assert_eq!(user.get("/api/v1/me").await.0, 503);
    assert_eq!(user.get("/api/v1/applications").await.0, 200);
    let recovered = async { while user.get("/api/v1/me").await.0 != 200 {} };
    tokio::time::timeout(DEADLINE, recovered).await.unwrap();
    assert!(control.faults().await.unwrap().is_empty());

    let long_outage = outage.with_duration(HOUR);
    control.inject(&long_outage).await.unwrap();
    assert_eq!(user.get("/api/v1/me").await.0, 503);
    control.shift_clock(7200).await.unwrap();
    assert_eq!(user.get("/api/v1/me").await.0, 503, "shifting the platform's clock does not end an outage");
    assert_eq!(control.faults().await.unwrap(), [long_outage]);
}

#[tokio::test]
async fn throttled_response_has_a_retry_after_header() {
    let (user, control) = user_with_control().await;
    control.shift_clock(-86_400).await.unwrap();
    for (as_date, status) in [(false, 429), (true, 503)] {
        let effect = Effect::Throttle { status, retry_after_seconds: 30, as_date };
        control.inject(&Fault::new(effect).on(Server::Storage).times(1)).await.unwrap();
        let response = user.send(Request::get(user.emulator.storage().clone())).await;
        assert_eq!(response.status(), status);
        let retry_after = response.header("retry-after").unwrap();
        if as_date {
            let moment = |text| Timestamp::from(&DateTimeParser::new().parse_zoned(text).unwrap());
            let wait = moment(retry_after).duration_since(moment(response.header("date").unwrap()));
            // The response reads the clock twice, and rounds both times to seconds.
            assert!((29..=30).contains(&wait.as_secs()), "{wait:?}");
        } else {
            assert_eq!(retry_after, "30");
        }
    }
    let parsed: Fault = r#"{"effect": {"kind": "throttle", "retry_after_seconds": 5}}"#.parse().unwrap();
    assert_eq!(parsed, Fault::new(Effect::Throttle { status: 429, retry_after_seconds: 5, as_date: false }));
    for invalid in [
        r#"{"effect": {"kind": "throttle", "status": 200, "retry_after_seconds": 5}}"#,
        r#"{"effect": {"kind": "throttle", "retry_after_seconds": 999999999999}}"#,
        r#"{"effect": {"kind": "novelty"}, "for_seconds": 5}"#,
    ] {
        assert!(invalid.parse::<Fault>().is_err(), "{invalid}");
    }
}

#[tokio::test]
async fn only_reset_request_prevents_the_processing_of_the_request() {
    let (user, control) = user_with_control().await;
    for (effect, expected_runs) in [(Effect::ResetRequest { after_bytes: 0 }, 0), (Effect::Reset { after_bytes: 0 }, 1)]
    {
        control.inject(&Fault::new(effect.clone()).on(Server::Api).with_method("POST").times(1)).await.unwrap();
        let submit = user.authorized(Method::Post, "/api/v1/runs");
        let result = user.http().send(submit.with_body("application/json", submission(1).to_string())).await;
        assert!(result.is_err(), "{effect:?} {:?}", result.map(|response| response.status()));
        let poll = async {
            loop {
                let runs = user.list_ids("/api/v1/runs", "run_id").await.len();
                // The run is visible after the replica lag.
                if runs == expected_runs {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, poll).await.unwrap();
    }
}

#[tokio::test]
async fn upload_is_reset_or_stalls_in_the_middle() {
    let (user, control) = user_with_control().await;
    let bucket = user.bucket().await;
    let upload = || {
        let url = bucket.put("object", HOUR);
        user.http().send(Request::new(Method::Put, url).with_body("text/plain", vec![7; 4_000_000]))
    };
    let fault = |effect| Fault::new(effect).on(Server::Storage).with_method("PUT").times(1);
    control.inject(&fault(Effect::ResetRequest { after_bytes: 100_000 })).await.unwrap();
    assert!(upload().await.is_err());
    control.inject(&fault(Effect::StallRequest { after_bytes: 100_000 })).await.unwrap();
    let stalled = tokio::time::timeout(Duration::from_millis(200), upload()).await;
    assert!(stalled.is_err(), "{:?}", stalled.map(|sent| sent.map(|response| response.status())));
    let response = user.send(Request::get(bucket.get("object", HOUR))).await;
    assert_eq!(response.status(), 404, "an incomplete upload does not create an object");
    assert_eq!(upload().await.unwrap().status(), 200);
    let (status, content) = read(user.send(Request::get(bucket.get("object", HOUR))).await).await;
    assert_eq!((status, content.len()), (200, 4_000_000));
}

/// Waits for the end of a run. Asserts that the platform canceled it and skipped this number of items.
async fn wait_for_cancellation(user: &User, run_id: &str, skipped: usize) -> Value {
    let run = user.wait_for_end(run_id).await;
    assert_eq!(run["termination_reason"], "CANCELED_BY_SYSTEM");
    assert_eq!(run["statistics"]["item_skipped_count"], skipped);
    run
}

#[tokio::test]
async fn platform_cancels_a_run_on_demand() {
    // At this speed, each item takes about a year.
    let slow: Config = toml::from_str("speed = 0.00002\nreplica_lag_ms = 0").unwrap();
    let user = User::logged_in_to(Emulator::builder().with_config(slow).with_control().start().await.unwrap()).await;
    let control = user.emulator.control().unwrap();
    let (_, submitted) = user.submit(&submission(3)).await;
    let id = submitted["run_id"].as_str().unwrap();
    control.cancel_run(id).await.unwrap();
    let run = wait_for_cancellation(&user, id, 3).await;
    assert_eq!((&run["output"], &run["error_code"]), (&json!("NONE"), &json!("SYSTEM.CANCELED")));
    for (id, status) in [(id, 409), ("00000000-0000-0000-0000-000000000000", 404), ("run", 404)] {
        let error = control.cancel_run(id).await.unwrap_err().to_string();
        assert!(error.contains(&status.to_string()), "{error}");
    }
}

#[tokio::test]
async fn platform_cancels_runs_after_some_items_if_configured() {
    let config: Config = toml::from_str("cancel_runs_after_items = 2").unwrap();
    let user = User::logged_in_to(Emulator::builder().with_config(config).start().await.unwrap()).await;
    let (_, submitted) = user.submit(&submission(5)).await;
    let run = wait_for_cancellation(&user, submitted["run_id"].as_str().unwrap(), 3).await;
    assert_eq!((&run["output"], &run["statistics"]["item_succeeded_count"]), (&json!("PARTIAL"), &json!(2)));
}

#[tokio::test]
async fn configured_faults_do_not_require_control_routes() {
    let text = r#"
        [[faults]]
        effect = { kind = "status", status = 503 }
        server = "api"
        path = "/health"
        times = 1
    "#;
    let config: Config = toml::from_str(text).unwrap();
    let fault = Fault::new(unavailable()).with_path("/health").after(1).times(1);
    let emulator = Emulator::builder().with_config(config).with_fault(fault).start().await.unwrap();
    let user = User::logged_in_to(emulator).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(user.get("/health").await.0);
    }
    assert_eq!(statuses, [503, 503, 200]);
    let invalid: Config = toml::from_str("faults = [{ effect = { kind = 'status', status = 99 } }]").unwrap();
    let error = Emulator::builder().with_config(invalid).start().await.unwrap_err();
    assert!(error.to_string().contains("99"), "{error}");
}
