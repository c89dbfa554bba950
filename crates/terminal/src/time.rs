//! Times as text: relative to now, and in UTC.

use std::time::{Duration, SystemTime};

const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];

/// Returns the current time. Use it only for printed text.
#[expect(clippy::disallowed_methods, reason = "a time relative to now is shown, and this crate has no clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns a time relative to now. If `exact` is true, the time in UTC (RFC 3339) precedes it.
pub fn relative_time(at: SystemTime, exact: bool) -> String {
    let relative = relative_to(at, now());
    match jiff::Timestamp::try_from(at) {
        Ok(at) if exact => format!("{at} ({relative})"),
        _ => relative,
    }
}

/// Returns a time in UTC, to the second: 2027-12-31T23:59:59Z.
pub fn timestamp(at: SystemTime) -> String {
    format(at, "%Y-%m-%dT%H:%M:%SZ")
}

/// Returns the time of day in UTC, to the second: 23:59:59 UTC.
pub fn time_of_day(at: SystemTime) -> String {
    format(at, "%H:%M:%S UTC")
}

fn format(at: SystemTime, pattern: &str) -> String {
    jiff::Timestamp::try_from(at).unwrap_or_default().strftime(pattern).to_string()
}

fn relative_to(at: SystemTime, now: SystemTime) -> String {
    match now.duration_since(at) {
        Ok(elapsed) => format!("{} ago", rounded_duration(elapsed)),
        Err(error) => format!("in {}", rounded_duration(error.duration())),
    }
}

/// Returns a duration in the largest unit that fits, rounded down.
pub fn rounded_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (length, unit) = UNITS.into_iter().find(|(length, _)| seconds >= *length).unwrap_or((1, "s"));
    format!("{} {unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_time_is_rounded_to_its_largest_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000_000);
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7_199, "1 h"), (86_400 * 3, "3 d")] {
            assert_eq!(relative_to(now - Duration::from_secs(seconds), now), format!("{text} ago"));
        }
        assert_eq!(relative_to(now + Duration::from_secs(3_600), now), "in 1 h");
        assert_eq!((timestamp(now), time_of_day(now)), ("1970-04-26T17:46:40Z".to_owned(), "17:46:40 UTC".to_owned()));
    }
}
