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
pub(crate) struct VerifyArgs {
    /// Folder with the results and the manifest
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write SHA256SUMS into the folder, for `sha256sum -c`
    #[arg(long)]
    sha256sums: bool,
}

pub(crate) async fn verify(arguments: VerifyArgs, context: &Context) -> Result<(), CliError> {
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
    let state_text = |state: FileState| match state {
        FileState::Intact => "intact".to_owned(),
        FileState::Changed => "CHANGED".to_owned(),
        FileState::Missing => "MISSING".to_owned(),
        FileState::Unreadable => "UNREADABLE".to_owned(),
        _ => "OUTSIDE".to_owned(),
    };
    let columns: [Column<'_, FileCheck>; 3] = [
        ("state", &|file| state_text(file.state)),
        ("size", &|file| output.size(file.entry.bytes)),
        ("file", &|file| file.entry.file.clone()),
    ];
    let errors = check.files.iter().filter_map(|file| Some((&file.entry.file, file.reason.as_ref()?)));
    let errors = errors.map(|(file, reason)| format!("cannot read '{}': {}", sanitize(file), sanitize(reason)));
    let folder_errors = check.unreadable.iter();
    let folder_errors =
        folder_errors.map(|(path, reason)| format!("cannot read '{}': {}", sanitize(path.display()), sanitize(reason)));
    let mut lines = vec![output.table(&check.files, &columns)];
    lines.extend(errors.chain(folder_errors));
    lines.extend(check.unlisted.iter().map(|path| format!("not in the manifest: {}", sanitize(path.display()))));
    lines.join("\n")
}

pub(super) const FORGET_HELP: &str = "\
`run download` keeps the entry of a file that was deleted or altered, so that `run verify` reports it. This command removes
it. The files themselves stay.";

#[derive(Args)]
pub(crate) struct ForgetArgs {
    /// Folder with the manifest
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Files whose entries are removed, named as in the manifest
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    locks: LockArgs,
}

pub(crate) async fn forget(arguments: ForgetArgs, context: &Context) -> Result<(), CliError> {
    let ForgetArgs { folder, files, locks } = arguments;
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
pub(crate) struct CleanArgs {
    /// Folder with the results
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// List the files and keep them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    locks: LockArgs,
}

pub(crate) async fn clean(arguments: CleanArgs, context: &Context) -> Result<(), CliError> {
    let CleanArgs { folder, dry_run, locks } = arguments;
    if !ResultFolder::is_result_folder(&folder) {
        let error = anyhow!("'{}' is not a folder for results: it has no .aignostics.lock", sanitize(folder.display()));
        return Err(CliError::bad_input(error));
    }
    let options = FolderOptions::new().with_locking(locks.into()).without_write_checks();
    let results = options.open(&folder).await.map_err(with_folder_context)?;
    let list_and_remove = move || {
        let leftovers = results.leftovers()?;
        if !dry_run {
            results.clean(&leftovers)?;
        }
        Ok::<_, platform_resources::FolderError>(leftovers)
    };
    let leftovers = tokio::task::spawn_blocking(list_and_remove).await.map_err(anyhow::Error::from)?;
    let leftovers = leftovers.map_err(with_folder_context)?;
    Ok(context.output.print_object(&json!({ "removed": !dry_run, "files": leftovers }), || {
        clean_text(&leftovers, dry_run, &context.output)
    })?)
}

fn clean_text(leftovers: &[Leftover], dry_run: bool, output: &Output) -> String {
    let kind = |file: &Leftover| match file.kind {
        LeftoverKind::Partial => "partial".to_owned(),
        LeftoverKind::Corrupt => "corrupt".to_owned(),
        _ => "temporary".to_owned(),
    };
    let columns: [Column<'_, Leftover>; 3] =
        [("kind", &kind), ("size", &|file| output.size(file.bytes)), ("file", &|file| file.path.display().to_string())];
    let count = leftovers.len();
    let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let summary = if dry_run { format!("{files} would be removed") } else { format!("{files} removed") };
    if count == 0 { summary } else { format!("{}\n{summary}", output.table(leftovers, &columns)) }
}
