//! `aignostics run`: runs and their results.

mod author;
mod bringing;
mod cancel;
mod cancel_by_filter;
mod clean;
mod delete;
mod describe;
mod download;
mod events;
mod execute;
mod forget;
mod input;
mod lifecycle;
mod list;
mod metadata;
mod object_keys;
mod options;
mod prepare;
mod share;
mod submit;
mod upload;
mod validate;
mod verify;
mod wait;
mod watch;

use std::path::PathBuf;

use anyhow::Context;
use auth_core::Secret;
use clap::{Args, Subcommand};
use platform_resources::{Client, RunHandle};

use crate::access::Shell;
use crate::detached::detached;
use crate::exit::Failure;
use crate::retries::Retries;

#[derive(Subcommand)]
pub(crate) enum Action {
    #[command(flatten)]
    Lifecycle(lifecycle::Action),
    /// Download and verify the results of a run; files that already exist are not fetched again
    #[command(
        after_help = "Examples:\n  aignostics run download RUN results --follow\n  aignostics run download RUN results --artifact '*geojson*'"
    )]
    Download(download::Arguments),
    /// Verify the files of a result folder against its manifest
    #[command(after_help = verify::HELP)]
    Verify(verify::Arguments),
    /// Remove entries from the manifest of a result folder
    #[command(after_help = forget::HELP)]
    Forget(forget::Arguments),
    /// List and remove the files that interrupted downloads left in a folder
    #[command(after_help = clean::HELP)]
    Clean(clean::Arguments),
    /// Download or delete the results of a run
    #[command(subcommand)]
    Result(Results),
    #[command(flatten)]
    Bringing(bringing::Action),
}

#[derive(Subcommand)]
pub(crate) enum Results {
    /// Wait for the end of a run and download its results into a folder of the run
    Download(download::Arguments),
    /// Delete the results of a terminated run permanently
    Delete(delete::Arguments),
}

pub(crate) async fn run(action: Action, shell: &Shell) -> Result<(), Failure> {
    match action {
        Action::Lifecycle(action) => lifecycle::run(action, shell).await,
        Action::Download(arguments) => Box::pin(download::run(arguments, shell, false)).await,
        Action::Verify(arguments) => verify::run(arguments, shell).await,
        Action::Forget(arguments) => forget::run(arguments, shell).await,
        Action::Clean(arguments) => clean::run(arguments, shell).await,
        Action::Result(Results::Download(arguments)) => Box::pin(download::run(arguments, shell, true)).await,
        Action::Result(Results::Delete(arguments)) => delete::run(arguments, shell).await,
        Action::Bringing(action) => Box::pin(bringing::run(action, shell)).await,
    }
}

impl Action {
    /// Returns its retry limits.
    pub(crate) fn retries(&self) -> Retries {
        match self {
            Self::Lifecycle(action) => action.retries(),
            Self::Download(_) | Self::Result(Results::Download(_)) => Retries::Transferring,
            Self::Verify(_) | Self::Forget(_) | Self::Clean(_) => Retries::None,
            Self::Result(Results::Delete(_)) => Retries::Changing,
            Self::Bringing(action) => action.retries(),
        }
    }
}

/// Which run, and by which right it is read.
#[derive(Args)]
pub(crate) struct Reading {
    /// Id of the run
    run: String,
    /// File with the secret of a share token in its first line, or `-` for stdin; `AIGNOSTICS_SHARE_TOKEN` can hold the
    /// secret instead. A login is still required
    #[arg(long, value_name = "FILE")]
    share_token_file: Option<PathBuf>,
}

impl Reading {
    /// Returns a handle of the run, with the share token if given.
    pub(crate) async fn handle(&self, client: &Client) -> Result<RunHandle, Failure> {
        let run = client.run(self.run.as_str());
        let named = match self.share_token_file.clone() {
            Some(path) if path.as_os_str() == "-" => {
                detached(|| std::io::read_to_string(std::io::stdin())).await?.map(Some)
            }
            Some(path) => detached(|| std::fs::read_to_string(path)).await?.map(Some),
            None => Ok(std::env::var("AIGNOSTICS_SHARE_TOKEN").ok()),
        };
        let named = named.context("cannot read the share token").map_err(Failure::bad_input)?;
        let secret = named.as_deref().and_then(|text| text.lines().next()).map(|line| Secret::new(line.trim()));
        Ok(secret.into_iter().fold(run, RunHandle::with_share_token))
    }
}
