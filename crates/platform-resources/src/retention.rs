use std::time::{Duration, SystemTime};

use platform_api::models::{Run, RunOutput, RunState};

/// The time for which the platform keeps results. Its documentation is inconsistent: one source counts from the start of the run,
/// another from its end.
pub const RESULTS_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Returns the earliest time at which the platform may delete the results of a run: 30 days after its submission.
/// Returns `None` if the run has not ended or has no results.
pub fn results_safe_until(run: &Run) -> Option<SystemTime> {
    has_results(run).then(|| SystemTime::from(run.submitted_at) + RESULTS_RETENTION)
}

/// Returns the latest time at which the platform deletes the results of a run: 30 days after its end. Returns `None` if
/// the run has not ended or has no results.
pub fn results_end(run: &Run) -> Option<SystemTime> {
    let terminated_at = run.terminated_at.filter(|_| has_results(run))?;
    Some(SystemTime::from(terminated_at) + RESULTS_RETENTION)
}

/// The state of the results of a run at a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retention {
    /// The run is not terminated, or has no results.
    NoResults,
    /// The results are kept at least until this time.
    SafeUntil(SystemTime),
    /// The platform may delete the results.
    AtRisk,
    /// The results are lost.
    Ended,
}

impl Retention {
    /// Returns the state of the results of a run at the time `now`.
    pub fn of(run: &Run, now: SystemTime) -> Self {
        match (results_safe_until(run), results_end(run)) {
            (_, Some(end)) if end <= now => Self::Ended,
            (Some(safe_until), _) if safe_until <= now => Self::AtRisk,
            (Some(safe_until), _) => Self::SafeUntil(safe_until),
            (None, _) => Self::NoResults,
        }
    }

    /// Returns true if the results are at risk now or will be within `time`, and [`results_end`] has not passed.
    pub fn is_at_risk_within(run: &Run, now: SystemTime, time: Duration) -> bool {
        let is_at_risk_by_then = results_safe_until(run).is_some_and(|safe_until| safe_until <= now + time);
        is_at_risk_by_then && results_end(run).is_some_and(|end| now < end)
    }
}

fn has_results(run: &Run) -> bool {
    run.state == RunState::Terminated && run.output != RunOutput::None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    fn run(state: &str, output: &str) -> Run {
        let statistics = json!({
            "item_count": 1, "item_pending_count": 0, "item_processing_count": 0, "item_user_error_count": 0,
            "item_system_error_count": 0, "item_skipped_count": 0, "item_succeeded_count": 1,
        });
        let run = json!({
            "run_id": "00000000-0000-0000-0000-000000000000", "application_id": "tissue", "version_number": "1.0.0",
            "state": state, "output": output, "statistics": statistics, "submitted_by": "auth0|1",
            "submitted_at": "2027-01-01T00:00:00Z", "terminated_at": "2027-01-03T00:00:00Z",
        });
        serde_json::from_value(run).unwrap()
    }

    fn parse_time(text: &str) -> SystemTime {
        text.parse::<platform_api::Timestamp>().unwrap().into()
    }

    #[test]
    fn retention_is_measured_from_the_submission_and_from_the_end() {
        let run = run("TERMINATED", "PARTIAL");
        assert_eq!(results_safe_until(&run), Some(parse_time("2027-01-31T00:00:00Z")));
        assert_eq!(results_end(&run), Some(parse_time("2027-02-02T00:00:00Z")));
    }

    #[test]
    fn retention_passes_from_safe_to_ended() {
        let run = run("TERMINATED", "PARTIAL");
        let retention_at = |text: &str| Retention::of(&run, parse_time(text));
        assert_eq!(retention_at("2027-01-30T00:00:00Z"), Retention::SafeUntil(parse_time("2027-01-31T00:00:00Z")));
        assert_eq!(retention_at("2027-01-31T00:00:00Z"), Retention::AtRisk);
        assert_eq!(retention_at("2027-02-02T00:00:00Z"), Retention::Ended);
        let is_at_risk_within = |now: &str, days: u64| {
            Retention::is_at_risk_within(&run, parse_time(now), Duration::from_secs(days * 24 * 60 * 60))
        };
        assert!(!is_at_risk_within("2027-01-30T00:00:00Z", 0) && is_at_risk_within("2027-01-30T00:00:00Z", 1));
        assert!(is_at_risk_within("2027-02-01T23:59:59Z", 1) && !is_at_risk_within("2027-02-02T00:00:00Z", 1));
    }

    #[test]
    fn unfinished_and_empty_runs_have_no_retention() {
        for run in [run("PROCESSING", "PARTIAL"), run("TERMINATED", "NONE")] {
            assert_eq!((results_safe_until(&run), results_end(&run)), (None, None));
        }
    }
}
