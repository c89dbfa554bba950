use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use platform_download::{FolderOptions, Leftover, LeftoverKind, ResultFolder};
use serde_json::{Value, json};

use super::download::{Locks, unusable};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{self, Output};
use crate::sanitize::sanitize;

pub(super) const HELP: &str = "\
The files are parts, which a later `run download` would resume, files with a wrong checksum and temporary files. Results and
the manifest stay.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder with the results
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// List the files and keep them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    locks: Locks,
}

/// Requires neither a network nor a login.
pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let Arguments { folder, dry_run, locks } = arguments;
    if !ResultFolder::is_at(&folder) {
        let error = anyhow!("'{}' is not a folder for results: it has no .aignostics.lock", sanitize(folder.display()));
        return Err(CliError::bad_input(error));
    }
    let results =
        FolderOptions::new().with_locking(locks.into()).with_full_disk().open(&folder).await.map_err(unusable)?;
    let work = move || {
        let found = results.leftovers()?;
        if !dry_run {
            results.clean(&found)?;
        }
        Ok(found)
    };
    let found = tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?;
    let found = found.map_err(unusable)?;
    context.output.one(&shape(&found, !dry_run), || text(&found, dry_run, &context.output))
}

fn shape(found: &[Leftover], removed: bool) -> Value {
    let files = found
        .iter()
        .map(|file| json!({ "path": file.path.display().to_string(), "bytes": file.bytes, "kind": file.kind }));
    json!({ "removed": removed, "files": files.collect::<Vec<_>>() })
}

fn text(found: &[Leftover], dry_run: bool, output: &Output) -> String {
    let mut table = output.table(["kind", "size", "file"]);
    for file in found {
        let kind = match file.kind {
            LeftoverKind::Partial => "partial",
            LeftoverKind::Corrupt => "corrupt",
            _ => "temporary",
        };
        table.add_row([kind.to_owned(), output.size(file.bytes), sanitize(file.path.display())]);
    }
    let count = found.len();
    let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let summary = if dry_run { format!("{files} would be removed") } else { format!("{files} removed") };
    if count == 0 { summary } else { format!("{}\n{summary}", output::text(&table)) }
}
