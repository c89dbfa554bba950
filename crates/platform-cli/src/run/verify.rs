use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use platform_download::{FileState, FolderCheck, verify};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{self, Output};
use crate::sanitize::sanitize;

pub(super) const HELP: &str = "\
Every file of the manifest is read. Files that are missing, altered or unreadable are reported one by one. Entries stay in
the manifest until a newer verified file replaces them or `run forget` removes them.

Exit codes: 0 all files are intact, 6 some are not.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder with the results and the manifest
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write SHA256SUMS into the folder, for `sha256sum -c`
    #[arg(long)]
    sha256sums: bool,
}

/// Requires neither a network nor a login.
pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let check = verify(&arguments.folder).await.map_err(CliError::bad_input)?;
    if arguments.sha256sums {
        check.write_sha256sums(&arguments.folder).await.map_err(super::download::unusable)?;
    }
    context.output.one(&shape(&check), || text(&check, &context.output))?;
    let spoilt = check.files.iter().filter(|file| file.state != FileState::Intact).count();
    match (check.files.len(), spoilt) {
        (0, _) => Err(CliError::incomplete(anyhow!("the manifest lists no files"))),
        (_, 0) if check.unreadable.is_empty() => Ok(()),
        (_, 0) => Err(CliError::incomplete(anyhow!("{} folders cannot be read", check.unreadable.len()))),
        (all, spoilt) => Err(CliError::incomplete(anyhow!(
            "{spoilt} of {all} files are not intact: repeat `run download` to fetch only these files; `run forget` removes \
             files from the manifest"
        ))),
    }
}

fn shape(check: &FolderCheck) -> Value {
    let files =
        check.files.iter().map(|file| json!({ "state": file.state, "reason": file.reason, "manifest": file.entry }));
    json!({
        "intact": check.is_intact(),
        "files": files.collect::<Vec<_>>(),
        "unreadable": check.unreadable.iter().map(|(path, reason)| {
            json!({ "path": path.display().to_string(), "reason": reason })
        }).collect::<Vec<_>>(),
        "unlisted": check.unlisted.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    })
}

fn text(check: &FolderCheck, output: &Output) -> String {
    let mut table = output.table(["state", "size", "file"]);
    for file in &check.files {
        let state = match file.state {
            FileState::Intact => "intact",
            FileState::Changed => "CHANGED",
            FileState::Missing => "MISSING",
            FileState::Unreadable => "UNREADABLE",
            _ => "OUTSIDE",
        };
        table.add_row([state.to_owned(), output.size(file.entry.bytes), sanitize(&file.entry.file)]);
    }
    let reasons = check.files.iter().filter_map(|file| Some((&file.entry.file, file.reason.as_ref()?)));
    let reasons = reasons.map(|(file, reason)| format!("cannot read '{}': {}", sanitize(file), sanitize(reason)));
    let folders = check.unreadable.iter();
    let folders =
        folders.map(|(path, reason)| format!("cannot read '{}': {}", sanitize(path.display()), sanitize(reason)));
    let mut lines = vec![output::text(&table)];
    lines.extend(reasons.chain(folders));
    lines.extend(check.unlisted.iter().map(|path| format!("not in the manifest: {}", sanitize(path.display()))));
    lines.join("\n")
}
