//! Reports about work that was interrupted by a signal or a timeout.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use platform_resources::models::RunId;
use platform_resources::{Creation, CriticalSections, Event};

use crate::command_line::look_up;
use crate::error::CliError;

/// The work that continues elsewhere after the process ends.
#[derive(Debug, Default)]
pub(crate) struct Interruption {
    /// Creating requests.
    pub(crate) sections: CriticalSections,
    followed: RefCell<Option<Followed>>,
}

#[derive(Debug)]
struct Followed {
    run: RunId,
    resume: String,
    progress: FollowedRun,
}

/// A run that the command follows. Clones are cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct FollowedRun(Arc<AtomicBool>);

impl FollowedRun {
    /// Records that the run has ended.
    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Determines from a download event if the run has ended.
    pub(crate) fn learn(&self, event: &Event) {
        if let Event::Run(run) = event
            && run.ended == run.items
        {
            self.end();
        }
    }
}

impl Interruption {
    /// Records that the command follows `run`, and that `resume` continues it.
    pub(crate) fn follow(&self, run: &RunId, resume: String) -> FollowedRun {
        let progress = FollowedRun::default();
        *self.followed.borrow_mut() = Some(Followed { run: run.clone(), resume, progress: progress.clone() });
        progress
    }

    /// Adds information about interrupted work to a failure.
    pub(crate) fn explain(&self, failure: CliError) -> CliError {
        if !failure.is_cut_short() {
            return failure;
        }
        // A submission is the most important request, because it is billed.
        let unresolved = self.sections.take_unresolved();
        let submission = unresolved.iter().find(|creation| matches!(creation, Creation::Run(_) | Creation::UnknownRun));
        match (submission.or(unresolved.first()), &*self.followed.borrow()) {
            (Some(creation), _) => uncertain(creation),
            (None, Some(followed)) => followed.explain(failure),
            (None, None) => failure,
        }
    }
}

impl Followed {
    fn explain(&self, failure: CliError) -> CliError {
        let Self { run, resume, progress } = self;
        if progress.0.load(Ordering::Relaxed) {
            return failure.cut_short(format!("run {run} has ended"), vec![format!("resume: {resume}")]);
        }
        let details = vec![format!("resume: {resume}"), format!("cancel: aignostics run cancel {run}")];
        failure.cut_short(format!("run {run} continues on the platform and is billed, unless it has ended"), details)
    }
}

/// Returns the failure of a request that may have created something.
fn uncertain(creation: &Creation) -> CliError {
    match creation {
        Creation::Run(submission) => CliError::uncertain(
            &anyhow!(
                "the command was stopped before the platform responded to the submission: it may have been accepted"
            ),
            look_up(&submission.token),
        ),
        Creation::UnknownRun => CliError::uncertain_request(anyhow!(
            "the command was stopped before the platform responded to the submission: it may have been accepted"
        )),
        Creation::ShareToken => CliError::uncertain(
            &anyhow!(
                "the command was stopped before the platform responded: a share token may exist, and its secret is lost"
            ),
            vec!["it gives access to no run; create another one".to_owned()],
        ),
        _ => CliError::uncertain(
            &anyhow!("the command was stopped before the platform responded: the grant may exist"),
            vec!["look it up: aignostics run share audit".to_owned()],
        ),
    }
}
