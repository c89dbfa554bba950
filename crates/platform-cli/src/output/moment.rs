use std::time::{Duration, SystemTime};

use auth_core::{Clock, SystemClock};

const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];

/// Returns a time relative to now; `exact` adds it in UTC (RFC 3339).
pub(crate) fn moment(at: SystemTime, exact: bool) -> String {
    let relative = relative(at, SystemClock.now());
    match jiff::Timestamp::try_from(at) {
        Ok(at) if exact => format!("{at} ({relative})"),
        _ => relative,
    }
}

fn relative(at: SystemTime, now: SystemTime) -> String {
    match now.duration_since(at) {
        Ok(passed) => format!("{} ago", rounded(passed)),
        Err(error) => format!("in {}", rounded(error.duration())),
    }
}

/// Returns a duration in its largest unit.
pub(crate) fn rounded(time: Duration) -> String {
    let seconds = time.as_secs();
    let (length, unit) = UNITS.into_iter().find(|(length, _)| seconds >= *length).unwrap_or((1, "s"));
    format!("{} {unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_its_largest_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000_000);
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7_199, "1 h"), (86_400 * 3, "3 d")] {
            assert_eq!(relative(now - Duration::from_secs(seconds), now), format!("{text} ago"));
        }
        assert_eq!(relative(now + Duration::from_secs(3_600), now), "in 1 h");
    }
}
