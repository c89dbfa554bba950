//! The retry limits of each command, and its messages while it waits.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use auth_core::{Clock, SystemClock};
use auth_http::retry::{Resumed, Waiting};
use platform_resources::{Hosts, RetryEvent, Settings};
use serde_json::{Value, json};

use crate::format::Format;
use crate::output::Output;
use crate::sanitize::{escaped_json, sanitize};

/// The wait after which a command prints a message.
const NOTICE_DELAY: Duration = Duration::from_secs(10);
/// The retry limit on a terminal of a command that only reads.
const READING_LIMIT: Duration = Duration::from_secs(30);
/// The retry limit on a terminal for a host that has not responded yet: its name may be wrong.
const UNANSWERED_LIMIT: Duration = Duration::from_secs(10);

/// The limits of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Retries {
    /// The command reports the current state.
    None,
    /// The command only reads, and can be repeated.
    Reading,
    #[default]
    Changing,
    /// The command follows a run or transfers files.
    Transferring,
}

impl Retries {
    /// Sets the limits: the user's option, or else the command's default unless a setting exists.
    pub(crate) fn apply(self, chosen: Option<Duration>, settings: &mut Settings) {
        self.apply_at(io::stderr().is_terminal(), chosen, settings);
    }

    fn apply_at(self, on_terminal: bool, chosen: Option<Duration>, settings: &mut Settings) {
        let is_default = |name: &str| !settings.sources.contains_key(name);
        let (request, unanswered) = (is_default("AIGNOSTICS_RETRY_FOR"), is_default("AIGNOSTICS_RETRY_FOR_UNANSWERED"));
        let retry = &mut settings.retry;
        match self {
            Self::None => (retry.limit, retry.transfer_limit) = (Duration::ZERO, Duration::ZERO),
            Self::Transferring => retry.limit = retry.transfer_limit,
            Self::Reading if on_terminal && request => retry.limit = READING_LIMIT,
            Self::Reading | Self::Changing => {}
        }
        if matches!(self, Self::Reading | Self::Changing) {
            // Its bucket requests are not transfers.
            retry.transfer_limit = retry.limit;
        }
        if let Some(limit) = chosen.filter(|_| self != Self::None) {
            (retry.limit, retry.transfer_limit) = (limit, limit);
        }
        if on_terminal && unanswered {
            retry.unanswered_limit = UNANSWERED_LIMIT;
        }
    }
}

/// Returns circuit breakers that report waits on stderr.
pub(crate) fn observed(output: &Output) -> Hosts {
    let (format, speaks, verbose) = (output.format(), !output.is_quiet(), output.verbose);
    match format {
        Format::Table if speaks => {
            Hosts::with_observer(NOTICE_DELAY, |event| say(&sanitize(text(event, SystemClock.now()))))
        }
        Format::Json | Format::Jsonl if speaks && verbose => {
            Hosts::with_observer(NOTICE_DELAY, |event| say(&escaped_json(&shape(event, SystemClock.now()))))
        }
        _ => Hosts::new(),
    }
}

fn say(line: &str) {
    // An error here cannot be reported.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Returns the text of a wait. Times are in UTC, as in logs.
fn text(event: &RetryEvent, now: SystemTime) -> String {
    match event {
        RetryEvent::Waiting(Waiting { host, cause, elapsed, next_attempt, left, .. }) => format!(
            "waiting for {host}, which has been failing since {}: {cause}; next attempt in {} s, giving up at {}",
            clock(now - *elapsed),
            next_attempt.as_secs() + 1,
            clock(now + *left)
        ),
        RetryEvent::Resumed(Resumed { host, elapsed, .. }) => {
            format!("resuming: {host} responds again after {} s", elapsed.as_secs())
        }
        _ => "the state of a host has changed".to_owned(),
    }
}

/// Returns the JSON of a wait.
fn shape(event: &RetryEvent, now: SystemTime) -> Value {
    match event {
        RetryEvent::Waiting(Waiting { host, cause, elapsed, next_attempt, left, .. }) => json!({
            "event": "waiting", "host": host, "cause": cause, "since": timestamp(now - *elapsed),
            "next_attempt": timestamp(now + *next_attempt), "deadline": timestamp(now + *left),
        }),
        RetryEvent::Resumed(Resumed { host, elapsed, .. }) => {
            json!({ "event": "resumed", "host": host, "waited_seconds": elapsed.as_secs_f64() })
        }
        _ => json!({ "event": "changed" }),
    }
}

/// Returns a time in UTC, to the second.
fn timestamp(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns the time of day in UTC.
fn clock(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).unwrap_or_default().strftime("%H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the limits for requests, for transfers and for hosts that have not responded, in seconds.
    fn limits(retries: Retries, on_terminal: bool, chosen: Option<u64>, variables: &[(&str, &str)]) -> [u64; 3] {
        let (_, root) = Settings::environments().next().unwrap();
        let settings = Settings::builder().with_home("/nowhere").with_variables([("AIGNOSTICS_API_ROOT", root)]);
        let settings = settings.with_variables(variables.iter().copied());
        let mut settings = settings.build().unwrap();
        retries.apply_at(on_terminal, chosen.map(Duration::from_secs), &mut settings);
        let retry = &settings.retry;
        [retry.limit, retry.transfer_limit, retry.unanswered_limit].map(|limit| limit.as_secs())
    }

    #[test]
    fn limits_are_shorter_on_a_terminal() {
        for (retries, terminal, elsewhere) in [
            (Retries::Reading, [30, 30, 10], [300, 300, 60]),
            (Retries::Changing, [300, 300, 10], [300, 300, 60]),
            (Retries::Transferring, [1800, 1800, 10], [1800, 1800, 60]),
            (Retries::None, [0, 0, 10], [0, 0, 60]),
        ] {
            assert_eq!(limits(retries, true, None, &[]), terminal, "{retries:?}");
            assert_eq!(limits(retries, false, None, &[]), elsewhere, "{retries:?}");
        }
    }

    #[test]
    fn settings_and_the_option_replace_the_limits_of_a_terminal() {
        let set = [("AIGNOSTICS_RETRY_FOR", "70"), ("AIGNOSTICS_RETRY_FOR_UNANSWERED", "20")];
        assert_eq!(limits(Retries::Reading, true, None, &set), [70, 70, 20]);
        assert_eq!(limits(Retries::Reading, true, Some(40), &set), [40, 40, 20]);
        assert_eq!(limits(Retries::Transferring, true, Some(40), &[]), [40, 40, 10]);
        assert_eq!(limits(Retries::None, true, Some(40), &[]), [0, 0, 10], "never retried");
    }
}
