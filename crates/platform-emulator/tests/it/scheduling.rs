//! Deadlines, and runs that the platform ends.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use platform_emulator::{Config, Emulator};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::client::{User, clock};

const DAY: i64 = 24 * 60 * 60;

async fn user_with_config(config: &str) -> User {
    let config: Config = toml::from_str(&format!("replica_lag_ms = 0\n{config}")).unwrap();
    User::logged_in_to(Emulator::builder().with_config(config).with_control().start().await.unwrap()).await
}

fn submission(outcomes: &[&str]) -> Value {
    let items = outcomes.iter().enumerate();
    let items =
        items.map(|(index, outcome)| crate::api::item(&format!("slide-{index}"), &json!({ "outcome": outcome })));
    json!({ "application_id": "outcomes", "items": items.collect::<Vec<_>>() })
}

/// Returns a submission with a due date or a deadline this number of seconds after `now`.
fn submission_due(now: Timestamp, field: &str, seconds: i64) -> Value {
    let mut submission = submission(&["SUCCEEDED"]);
    submission["scheduling"][field] = json!((now + SignedDuration::from_secs(seconds)).to_string());
    submission
}

#[tokio::test]
async fn deadline_within_a_day_is_rejected() {
    let clock = clock();
    let user = User::logged_in_to(Emulator::builder().with_clock(clock).start().await.unwrap()).await;
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    for seconds in [-1, 60, DAY - 1] {
        let (status, problem) = user.submit(&submission_due(now, "deadline", seconds)).await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(status == 400 && detail.contains("SCHEDULER.DEADLINE_TOO_SHORT"), "{seconds}: {status} {detail}");
    }
    assert_eq!(user.submit(&submission_due(now, "due_date", 0)).await.0, 400);
    for accepted in [submission_due(now, "deadline", DAY), submission_due(now, "due_date", 60)] {
        assert_eq!(user.submit(&accepted).await.0, 201);
    }
}

#[tokio::test]
async fn run_ends_when_its_deadline_passes() {
    let user = user_with_config("speed = 0.000001").await;
    let (status, submitted) = user.submit(&submission_due(Timestamp::now(), "deadline", 2 * DAY)).await;
    assert_eq!(status, 201);
    let path = format!("/api/v1/runs/{}", submitted["run_id"].as_str().unwrap());
    let control = user.emulator.control().unwrap();
    control.shift_clock(-DAY).await.unwrap();
    assert_ne!(user.get(&path).await.1["state"], "TERMINATED");
    // The clock is moved back, because the access token is valid for only one day.
    control.shift_clock(3 * DAY + 60).await.unwrap();
    control.shift_clock(-2 * DAY - 60).await.unwrap();
    let (_, run) = user.get(&path).await;
    assert_eq!((&run["state"], &run["termination_reason"]), (&json!("TERMINATED"), &json!("CANCELED_BY_SYSTEM")));
    assert_eq!(run["error_code"], "SCHEDULER.DEADLINE_EXCEEDED");
    assert!(run["error_message"].as_str().unwrap().contains("deadline"), "{run}");
    assert_eq!(run["statistics"]["item_skipped_count"], 1);
}

#[test]
fn run_whose_deadline_passed_before_a_restart_is_canceled() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let log_in = || async {
        let config = toml::from_str("replica_lag_ms = 0\nspeed = 0.000001").unwrap();
        let emulator =
            Emulator::builder().with_config(config).with_clock(clock.clone()).with_data_folder(folder.path());
        User::logged_in_to(emulator.start().await.unwrap()).await
    };
    let runtime = Runtime::new().unwrap();
    let id = runtime.block_on(async {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (_, submitted) = log_in().await.submit(&submission_due(now, "deadline", DAY)).await;
        submitted["run_id"].as_str().unwrap().to_owned()
    });
    drop(runtime);
    clock.advance(Duration::from_secs(24 * 60 * 60));
    Runtime::new().unwrap().block_on(async {
        let run = log_in().await.wait_for_end(&id).await;
        assert_eq!(run["error_code"], "SCHEDULER.DEADLINE_EXCEEDED");
    });
}

#[tokio::test]
async fn run_with_too_many_errors_is_canceled() {
    let user = user_with_config("error_threshold = 1").await;
    let (_, submitted) = user.submit(&submission(&["USER_ERROR", "SUCCEEDED", "SYSTEM_ERROR", "SUCCEEDED"])).await;
    let run = user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
    assert_eq!((&run["termination_reason"], &run["output"]), (&json!("CANCELED_BY_SYSTEM"), &json!("PARTIAL")));
    assert_eq!(run["error_code"], "SCHEDULER.ITEMS_WITH_ERROR_THRESHOLD_REACHED");
    assert_eq!(run["error_message"], "The platform canceled the run: more than 1 items have errors.");
    assert_eq!(run["statistics"]["item_skipped_count"], 1);
    let (_, submitted) = user.submit(&submission(&["USER_ERROR", "SUCCEEDED"])).await;
    let run = user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
    assert_eq!((&run["termination_reason"], &run["error_code"]), (&json!("ALL_ITEMS_PROCESSED"), &Value::Null));
}

#[tokio::test]
async fn callback_context_over_1024_bytes_is_rejected() {
    let user = user_with_config("").await;
    for (letters, status) in [(1016, 201), (1017, 422)] {
        let mut submission = submission(&["SUCCEEDED"]);
        submission["callback_context"] = json!({ "a": "x".repeat(letters) });
        assert_eq!(user.submit(&submission).await.0, status, "{letters}");
    }
}
