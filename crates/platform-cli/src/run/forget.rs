use std::path::PathBuf;

use clap::Args;
use platform_download::{Locking, forget};
use serde_json::json;

use super::download::{Locks, unusable};
use crate::context::Context;
use crate::error::CliError;

pub(super) const HELP: &str = "\
`run download` keeps the entry of a file that was deleted or altered, so that `run verify` reports it. This command removes
it. The files themselves stay.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder with the manifest
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Files whose entries are removed, named as in the manifest
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    locks: Locks,
}

/// Requires neither a network nor a login.
pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let Arguments { folder, files, locks } = arguments;
    let locking: Locking = locks.into();
    let count = forget(&folder, files, locking).await.map_err(|error| {
        if error.is_without_entry() || error.is_without_manifest() {
            CliError::bad_input(error)
        } else {
            unusable(error)
        }
    })?;
    let text = if count == 1 { "1 entry removed".to_owned() } else { format!("{count} entries removed") };
    context.output.one(&json!({ "removed": count }), || text)
}
