//! Error messages about work that was interrupted by a signal or a timeout.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use platform_resources::models::RunId;
use platform_resources::{Creation, CriticalSections, Event};
use terminal::Sections;

use crate::error::{CliError, UNCERTAIN, UNCERTAIN_REQUEST, lookup_instructions};

/// Work that may continue on the platform after the process ends.
#[derive(Debug, Default)]
pub(crate) struct Interruption {
    /// The requests in flight that create something.
    pub(crate) sections: CriticalSections,
    followed: RefCell<Option<FollowedRun>>,
}

#[derive(Debug)]
struct FollowedRun {
    run: RunId,
    /// The command line that continues to follow the run.
    resume_command: String,
    end_flag: EndFlag,
}

/// A flag that is set when the followed run has ended. Clones are cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndFlag(Arc<AtomicBool>);

impl EndFlag {
    /// Sets the flag.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Sets the flag if a download event states that all items have ended.
    pub(crate) fn observe(&self, event: &Event) {
        if let Event::Run(run) = event
            && run.ended == run.items
        {
            self.set();
        }
    }
}

impl Sections for Interruption {
    fn close(&self) {
        self.sections.close();
    }

    fn is_open(&self) -> bool {
        self.sections.is_open()
    }
}

impl Interruption {
    /// Records that the command follows `run`, and that `resume_command` continues it.
    pub(crate) fn follow(&self, run: &RunId, resume_command: String) -> EndFlag {
        let end_flag = EndFlag::default();
        let followed = FollowedRun { run: run.clone(), resume_command, end_flag: end_flag.clone() };
        *self.followed.borrow_mut() = Some(followed);
        end_flag
    }

    /// Adds information about interrupted work to a failure.
    pub(crate) fn explain(&self, failure: CliError) -> CliError {
        if !failure.is_interrupted() {
            return failure;
        }
        // A submission is the most important request, because it is billed.
        let unresolved = self.sections.take_unresolved();
        let submission = unresolved.iter().find(|creation| matches!(creation, Creation::Run(_) | Creation::UnknownRun));
        match (submission.or(unresolved.first()), &*self.followed.borrow()) {
            (Some(creation), _) => uncertain_failure(creation),
            (None, Some(followed)) => followed.explain(failure),
            (None, None) => failure,
        }
    }
}

impl FollowedRun {
    fn explain(&self, failure: CliError) -> CliError {
        let Self { run, resume_command, end_flag } = self;
        let resume = format!("resume: {resume_command}");
        if end_flag.0.load(Ordering::Relaxed) {
            return failure.with_interrupted_work(&format!("run {run} has ended"), vec![resume]);
        }
        let details = vec![resume, format!("cancel: aignostics run cancel {run}")];
        failure.with_interrupted_work(
            &format!("run {run} continues on the platform and is billed, unless it has ended"),
            details,
        )
    }
}

/// Returns the failure of a request that may have created something.
fn uncertain_failure(creation: &Creation) -> CliError {
    let interruption = "the command was stopped before the platform responded";
    let message = format!("{interruption} to the submission: it may have been accepted");
    match creation {
        Creation::Run(submission) => CliError::with_details(UNCERTAIN, message, lookup_instructions(&submission.token)),
        Creation::UnknownRun => CliError::with_details(UNCERTAIN_REQUEST, message, Vec::new()),
        Creation::ShareToken => CliError::with_details(
            UNCERTAIN,
            format!("{interruption}: a share token may exist, and its secret is lost"),
            vec!["it gives access to no run; create another one".to_owned()],
        ),
        _ => CliError::with_details(
            UNCERTAIN,
            format!("{interruption}: the grant may exist"),
            vec!["look it up: aignostics run share audit".to_owned()],
        ),
    }
}
