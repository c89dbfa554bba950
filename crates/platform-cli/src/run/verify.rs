use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use platform_download::{FileState, FolderCheck, verify};
use serde_json::{Value, json};

use crate::access::Shell;
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::shown::shown;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder, with its manifest.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Asks nobody: it works without a network and without a login.
pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let check = verify(&arguments.folder).await.map_err(Failure::bad_input)?;
    shell.output.one(&shape(&check), || text(&check, &shell.output))?;
    let spoilt = check.files.iter().filter(|file| file.state != FileState::Intact).count();
    match (check.files.len(), spoilt) {
        (0, _) => Err(Failure::incomplete(anyhow!("the manifest states no file"))),
        (_, 0) => Ok(()),
        (all, spoilt) => Err(Failure::incomplete(anyhow!(
            "{spoilt} of {all} files are not what they were: download the run again, and only they are fetched"
        ))),
    }
}

fn shape(check: &FolderCheck) -> Value {
    let files = check.files.iter().map(|file| json!({ "state": file.state, "manifest": file.entry }));
    json!({
        "intact": check.is_intact(),
        "files": files.collect::<Vec<_>>(),
        "unlisted": check.unlisted.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    })
}

fn text(check: &FolderCheck, output: &Output) -> String {
    let mut table = output.table(["state", "bytes", "file"]);
    for file in &check.files {
        let state = match file.state {
            FileState::Intact => "intact",
            FileState::Changed => "CHANGED",
            FileState::Missing => "MISSING",
            _ => "OUTSIDE",
        };
        table.add_row([state.to_owned(), file.entry.bytes.to_string(), shown(&file.entry.file)]);
    }
    let mut lines = vec![output::text(&table)];
    lines.extend(check.unlisted.iter().map(|path| format!("not in the manifest: {}", shown(path.display()))));
    lines.join("\n")
}
