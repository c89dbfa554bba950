//! The commands from a folder of slides to a run.

use clap::Subcommand;

use super::{execute, prepare, submit, upload, validate};
use crate::access::Shell;
use crate::exit::Failure;
use crate::retries::Retries;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Looks for slides in a folder, and writes a table of them (CSV) that `run upload` and `run submit` take.
    Prepare(Box<prepare::Arguments>),
    /// Uploads the slides of a table into the bucket of the organisation; what is there already is not sent.
    Upload(Box<upload::Arguments>),
    /// Checks all of a table or a submission, and submits nothing.
    Validate(Box<validate::Arguments>),
    /// Submits a run of the slides of a table, or of a submission in JSON.
    Submit(Box<submit::Arguments>),
    /// From a folder of slides to verified results; killed and called again it goes on, and submits nothing twice.
    Execute(Box<execute::Arguments>),
}

impl Action {
    /// Returns its retry limits.
    pub(super) fn retries(&self) -> Retries {
        match self {
            Self::Upload(_) | Self::Execute(_) => Retries::Transferring,
            Self::Prepare(_) | Self::Validate(_) => Retries::Reading,
            Self::Submit(_) => Retries::Changing,
        }
    }
}

pub(super) async fn run(action: Action, shell: &Shell) -> Result<(), Failure> {
    match action {
        Action::Prepare(arguments) => Box::pin(prepare::run(*arguments, shell)).await,
        Action::Upload(arguments) => Box::pin(upload::run(*arguments, shell)).await,
        Action::Validate(arguments) => Box::pin(validate::run(*arguments, shell)).await,
        Action::Submit(arguments) => Box::pin(submit::run(*arguments, shell)).await,
        Action::Execute(arguments) => Box::pin(execute::run(*arguments, shell)).await,
    }
}
