//! Messages while requests wait for a host that fails.

use std::time::{Duration, SystemTime};

use auth_core::{Clock, SystemClock};
use platform_resources::{Hosts, RetryEvent};
use serde_json::{Value, json};
use terminal::Output;
use terminal::time::{time_of_day, timestamp};

/// The time after which the first message is printed.
const NOTICE_DELAY: Duration = Duration::from_secs(10);

/// Returns circuit breakers that report waits on stderr.
pub(crate) fn hosts_with_notices(output: &Output) -> Hosts {
    let output = output.clone();
    Hosts::with_observer(NOTICE_DELAY, move |event| {
        let now = SystemClock.now();
        output.print_progress(|| to_json(event, now), || text(event, now));
    })
}

/// Returns the text of a wait. Times are in UTC, as in logs.
fn text(event: &RetryEvent, now: SystemTime) -> String {
    match event {
        RetryEvent::Waiting(wait) => format!(
            "waiting for {}, which has been failing since {}: {}; next attempt in {} s, giving up at {}",
            wait.host,
            time_of_day(now - wait.elapsed),
            wait.cause,
            wait.next_attempt.as_secs() + 1,
            time_of_day(now + wait.left)
        ),
        RetryEvent::Resumed(resumed) => {
            format!("resuming: {} responds again after {} s", resumed.host, resumed.elapsed.as_secs())
        }
        _ => "the state of a host has changed".to_owned(),
    }
}

/// Returns the JSON of a wait.
fn to_json(event: &RetryEvent, now: SystemTime) -> Value {
    match event {
        RetryEvent::Waiting(wait) => json!({
            "event": "waiting", "host": wait.host, "cause": wait.cause, "since": timestamp(now - wait.elapsed),
            "next_attempt": timestamp(now + wait.next_attempt), "deadline": timestamp(now + wait.left),
        }),
        RetryEvent::Resumed(resumed) => {
            json!({ "event": "resumed", "host": resumed.host, "waited_seconds": resumed.elapsed.as_secs_f64() })
        }
        _ => json!({ "event": "changed" }),
    }
}
