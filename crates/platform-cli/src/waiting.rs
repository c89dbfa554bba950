//! Messages for requests that wait until a failing host recovers.

use std::time::{Duration, SystemTime};

use auth_core::{Clock, SystemClock};
use platform_resources::{Hosts, RetryEvent};
use serde_json::{Value, json};
use terminal::Output;
use terminal::time::{time_of_day, timestamp};

/// The time after which the first message is printed.
const NOTICE_DELAY: Duration = Duration::from_secs(10);

/// Returns the circuit breakers of all hosts, which report waits on stderr.
pub(crate) fn hosts_with_notices(output: &Output) -> Hosts {
    let output = output.clone();
    Hosts::with_observer(NOTICE_DELAY, move |event| {
        let now = SystemClock.now();
        output.print_progress(|| event_json(event, now), || event_text(event, now));
    })
}

/// Returns the message about an event. Times are in UTC, as in logs.
fn event_text(event: &RetryEvent, now: SystemTime) -> String {
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

/// Returns the event in JSON.
fn event_json(event: &RetryEvent, now: SystemTime) -> Value {
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
