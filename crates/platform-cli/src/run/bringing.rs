//! The commands from a folder of slides to a run.

use clap::Subcommand;

use super::{execute, prepare, submit, upload, validate};
use crate::access::Shell;
use crate::exit::Failure;
use crate::retries::Retries;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Find slides in a folder and write the table (CSV) for `run upload` and `run submit`
    #[command(
        after_help = "Examples:\n  aignostics run prepare he-tme slides.csv slides\n  aignostics run prepare he-tme slides.csv slides --mapping '.*:staining_method=H&E,tissue=LUNG,disease=LUNG_CANCER'"
    )]
    Prepare(Box<prepare::Arguments>),
    /// Upload the slides of a table to the organization's bucket; objects that already exist are skipped
    #[command(after_help = "Example: aignostics run upload he-tme slides.csv")]
    Upload(Box<upload::Arguments>),
    /// Validate a table or a submission without submitting it
    #[command(after_help = "Example: aignostics run validate he-tme slides.csv")]
    Validate(Box<validate::Arguments>),
    /// Submit a run from a table of slides or from a submission in JSON
    #[command(
        after_help = "Examples:\n  aignostics run submit he-tme slides.csv --tags study-1\n  aignostics run submit he-tme submission.json --once study-1"
    )]
    Submit(Box<submit::Arguments>),
    /// Prepare, upload, submit and download in one command; a repeated call resumes and submits nothing twice
    #[command(after_help = "Example: aignostics run execute he-tme slides.csv slides")]
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
