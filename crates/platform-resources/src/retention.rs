use std::time::{Duration, SystemTime};

use platform_api::models::{Run, RunOutput, RunState};

/// The retention time of results after the end of their run.
pub const RESULTS_STAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Returns the time at which the platform deletes the results of `run`. `None` for an active run, and for one without
/// results.
pub fn results_end(run: &Run) -> Option<SystemTime> {
    let ended = run.terminated_at.filter(|_| run.state == RunState::Terminated && run.output != RunOutput::None)?;
    Some(SystemTime::from(ended) + RESULTS_STAY)
}
