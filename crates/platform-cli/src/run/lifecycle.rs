//! The commands for existing runs: list, describe, wait, watch, cancel, metadata and sharing.

use clap::Subcommand;

use super::{cancel, cancel_by_filter, describe, list, metadata, share, wait, watch};
use crate::access::Shell;
use crate::exit::Failure;
use crate::retries::Retries;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Lists runs, the newest first.
    List(Box<list::Arguments>),
    /// Shows a run, how far it is, and what became of each of its items.
    Describe(describe::Arguments),
    /// Waits for the end of a run, and shows it. Exit code 6: not all of its items succeeded; 1: --timeout was reached.
    Wait(wait::Arguments),
    /// Tells what happens in a run, as it happens: a line for each item that ends, and for the end of the run.
    #[command(after_help = watch::HELP)]
    Watch(watch::Arguments),
    /// Cancels a run. One that has ended stays as it is.
    Cancel(cancel::Arguments),
    /// Cancels all runs that go on and that a filter fits.
    CancelByFilter(cancel_by_filter::Arguments),
    /// Prints the metadata of a run as JSON.
    DumpMetadata(metadata::Dump),
    /// Prints the metadata of an item as JSON, with all that is in them: also a URL of its slide that is a key.
    DumpItemMetadata(metadata::DumpItem),
    /// Puts other metadata in the place of those of a run.
    UpdateMetadata(metadata::Update),
    /// Puts other metadata in the place of those of an item.
    UpdateItemMetadata(metadata::UpdateItem),
    /// Shows runs to others, and says to whom they are shown.
    #[command(subcommand)]
    Share(share::Action),
}

impl Action {
    /// Returns its retry limits.
    pub(super) fn retries(&self) -> Retries {
        match self {
            Self::List(_)
            | Self::Describe(_)
            | Self::DumpMetadata(_)
            | Self::DumpItemMetadata(_)
            | Self::Share(share::Action::Status(_) | share::Action::Audit(_)) => Retries::Reading,
            Self::Wait(_) | Self::Watch(_) => Retries::Transferring,
            Self::Cancel(_)
            | Self::CancelByFilter(_)
            | Self::UpdateMetadata(_)
            | Self::UpdateItemMetadata(_)
            | Self::Share(_) => Retries::Changing,
        }
    }
}

pub(super) async fn run(action: Action, shell: &Shell) -> Result<(), Failure> {
    match action {
        Action::List(arguments) => list::run(*arguments, shell).await,
        Action::Describe(arguments) => describe::run(arguments, shell).await,
        Action::Wait(arguments) => wait::run(arguments, shell).await,
        Action::Watch(arguments) => Box::pin(watch::run(arguments, shell)).await,
        Action::Cancel(arguments) => cancel::run(arguments, shell).await,
        Action::CancelByFilter(arguments) => cancel_by_filter::run(arguments, shell).await,
        Action::DumpMetadata(arguments) => metadata::dump(arguments, shell).await,
        Action::DumpItemMetadata(arguments) => metadata::dump_item(arguments, shell).await,
        Action::UpdateMetadata(arguments) => metadata::update(arguments, shell).await,
        Action::UpdateItemMetadata(arguments) => metadata::update_item(arguments, shell).await,
        Action::Share(action) => share::run(action, shell).await,
    }
}
