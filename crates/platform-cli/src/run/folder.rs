//! The files of a result folder and its manifest. No command here requires a network or a login.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use platform_download::{
    FileCheck, FileState, FolderCheck, FolderOptions, Leftover, LeftoverKind, Locking, ResultFolder,
};
use serde_json::json;
use terminal::{Column, Output, sanitize};

use super::download::{LockArgs, with_folder_context};
use crate::context::Context;
use crate::error::CliError;

pub(super) const VERIFY_HELP: &str = "\
Every file of the manifest is read. Files that are missing, altered or unreadable are reported one by one. Entries stay in
the manifest until a newer verified file replaces them or `run forget` removes them.

Exit codes: 0 all files are intact, 6 some are not.";

#[derive(Args)]
pub(crate) struct Verify {
    /// Folder with the results and the manifest
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write SHA256SUMS into the folder, for `sha256sum -c`
    #[arg(long)]
    sha256sums: bool,
}

pub(crate) async fn verify(arguments: Verify, context: &Context) -> Result<(), CliError> {
    let check = platform_download::verify(&arguments.folder).await.map_err(CliError::bad_input)?;
    if arguments.sha256sums {
        check.write_sha256sums(&arguments.folder).await.map_err(with_folder_context)?;
    }
    context.output.print_object(&check, || check_text(&check, &context.output))?;
    let damaged = check.files.iter().filter(|file| file.state != FileState::Intact).count();
    match (check.files.len(), damaged) {
        (0, _) => Err(CliError::incomplete("the manifest lists no files")),
        (_, 0) if check.unreadable.is_empty() => Ok(()),
        (_, 0) => Err(CliError::incomplete(format_args!("{} folders cannot be read", check.unreadable.len()))),
        (all, damaged) => Err(CliError::incomplete(format_args!(
            "{damaged} of {all} files are not intact: repeat `run download` to fetch only these files; `run forget` removes \
             files from the manifest"
        ))),
    }
}

fn check_text(check: &FolderCheck, output: &Output) -> String {
    let state = |state: FileState| match state {
        FileState::Intact => "intact".to_owned(),
        FileState::Changed => "CHANGED".to_owned(),
        FileState::Missing => "MISSING".to_owned(),
        FileState::Unreadable => "UNREADABLE".to_owned(),
        _ => "OUTSIDE".to_owned(),
    };
    let columns: [Column<'_, FileCheck>; 3] = [
        ("state", &|file| state(file.state)),
        ("size", &|file| output.size(file.entry.bytes)),
        ("file", &|file| file.entry.file.clone()),
    ];
    let reasons = check.files.iter().filter_map(|file| Some((&file.entry.file, file.reason.as_ref()?)));
    let reasons = reasons.map(|(file, reason)| format!("cannot read '{}': {}", sanitize(file), sanitize(reason)));
    let folders = check.unreadable.iter();
    let folders =
        folders.map(|(path, reason)| format!("cannot read '{}': {}", sanitize(path.display()), sanitize(reason)));
    let mut lines = vec![output.table(&check.files, &columns)];
    lines.extend(reasons.chain(folders));
    lines.extend(check.unlisted.iter().map(|path| format!("not in the manifest: {}", sanitize(path.display()))));
    lines.join("\n")
}

pub(super) const FORGET_HELP: &str = "\
`run download` keeps the entry of a file that was deleted or altered, so that `run verify` reports it. This command removes
it. The files themselves stay.";

#[derive(Args)]
pub(crate) struct Forget {
    /// Folder with the manifest
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Files whose entries are removed, named as in the manifest
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    locks: LockArgs,
}

pub(crate) async fn forget(arguments: Forget, context: &Context) -> Result<(), CliError> {
    let Forget { folder, files, locks } = arguments;
    let locking: Locking = locks.into();
    let count = platform_download::forget(&folder, files, locking).await.map_err(|error| {
        if error.has_no_entry() || error.has_no_manifest() {
            CliError::bad_input(error)
        } else {
            with_folder_context(error)
        }
    })?;
    let text = if count == 1 { "1 entry removed".to_owned() } else { format!("{count} entries removed") };
    Ok(context.output.print_object(&json!({ "removed": count }), || text)?)
}

pub(super) const CLEAN_HELP: &str = "\
The files are parts, which a later `run download` would resume, files with a wrong checksum and temporary files. Results and
the manifest stay.";

#[derive(Args)]
pub(crate) struct Clean {
    /// Folder with the results
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// List the files and keep them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    locks: LockArgs,
}

pub(crate) async fn clean(arguments: Clean, context: &Context) -> Result<(), CliError> {
    let Clean { folder, dry_run, locks } = arguments;
    if !ResultFolder::is_result_folder(&folder) {
        let error = anyhow!("'{}' is not a folder for results: it has no .aignostics.lock", sanitize(folder.display()));
        return Err(CliError::bad_input(error));
    }
    let options = FolderOptions::new().with_locking(locks.into()).without_write_checks();
    let results = options.open(&folder).await.map_err(with_folder_context)?;
    let work = move || {
        let found = results.leftovers()?;
        if !dry_run {
            results.clean(&found)?;
        }
        Ok::<_, platform_resources::FolderError>(found)
    };
    let found = tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)?;
    let found = found.map_err(with_folder_context)?;
    Ok(context.output.print_object(&json!({ "removed": !dry_run, "files": found }), || {
        clean_text(&found, dry_run, &context.output)
    })?)
}

fn clean_text(found: &[Leftover], dry_run: bool, output: &Output) -> String {
    let kind = |file: &Leftover| match file.kind {
        LeftoverKind::Partial => "partial".to_owned(),
        LeftoverKind::Corrupt => "corrupt".to_owned(),
        _ => "temporary".to_owned(),
    };
    let columns: [Column<'_, Leftover>; 3] =
        [("kind", &kind), ("size", &|file| output.size(file.bytes)), ("file", &|file| file.path.display().to_string())];
    let count = found.len();
    let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let summary = if dry_run { format!("{files} would be removed") } else { format!("{files} removed") };
    if count == 0 { summary } else { format!("{}\n{summary}", output.table(found, &columns)) }
}
