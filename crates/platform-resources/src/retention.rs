use std::time::{Duration, SystemTime};

use platform_api::models::{Run, RunOutput, RunState};

/// The retention of results. By one source of the platform it begins when a run starts, by another when it ends.
pub const RESULTS_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Returns the earliest time at which the platform may delete the results of a run: 30 days after its submission. Returns
/// `None` if the run is not terminated or has no results.
pub fn results_safe_until(run: &Run) -> Option<SystemTime> {
    has_results(run).then(|| SystemTime::from(run.submitted_at) + RESULTS_RETENTION)
}

/// Returns the time at which the results of a run are lost: 30 days after its end. Returns `None` if the run is not
/// terminated or has no results.
pub fn results_end(run: &Run) -> Option<SystemTime> {
    let ended = run.terminated_at.filter(|_| has_results(run))?;
    Some(SystemTime::from(ended) + RESULTS_RETENTION)
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

    fn moment(text: &str) -> SystemTime {
        text.parse::<platform_api::Timestamp>().unwrap().into()
    }

    #[test]
    fn results_are_safe_from_the_start_and_lost_from_the_end() {
        let run = run("TERMINATED", "PARTIAL");
        assert_eq!(results_safe_until(&run), Some(moment("2027-01-31T00:00:00Z")));
        assert_eq!(results_end(&run), Some(moment("2027-02-02T00:00:00Z")));
    }

    #[test]
    fn unfinished_and_empty_runs_have_no_retention() {
        for run in [run("PROCESSING", "PARTIAL"), run("TERMINATED", "NONE")] {
            assert_eq!((results_safe_until(&run), results_end(&run)), (None, None));
        }
    }
}
