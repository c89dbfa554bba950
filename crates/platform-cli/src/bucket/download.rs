use std::path::{Path, PathBuf};

use auth_core::error_chain;
use clap::Args;
use platform_download::Progress;
use platform_resources::{Bucket, Client, DownloadedObject, ObjectEntry};
use serde_json::json;
use terminal::{Column, ProgressBars, Unit};

use super::{ObjectSelection, report_failures};
use crate::context::Context;
use crate::error::CliError;
use crate::results::disk_full;
use crate::transfers::DownloadTransferArgs;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: ObjectSelection,
    /// Folder for the files; created if absent
    #[arg(long, value_name = "DIR", default_value = ".")]
    destination: PathBuf,
    #[command(flatten)]
    pub(super) transfer: DownloadTransferArgs,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    bucket: &Bucket,
    context: &Context,
) -> Result<(), CliError> {
    let Arguments { selection, destination, .. } = arguments;
    let (folders, objects): (Vec<_>, Vec<_>) =
        selection.require_matches(bucket).await?.into_iter().partition(ObjectEntry::is_folder);
    let bytes = objects.iter().map(|entry| entry.bytes).sum();
    let bar = ProgressBars::new(&context.output).bar("downloading", Unit::Bytes, bytes);
    let observer = |progress: Progress| match progress {
        Progress::AlreadyPresent(bytes) | Progress::Durable(bytes) => bar.inc(bytes),
        Progress::Lost(bytes) => bar.dec(bytes),
        _ => {}
    };
    let downloaded_objects = bucket.download(&objects, &destination, &client.downloader()?, &observer).await;
    bar.finish();
    print(&downloaded_objects, &folders, &destination, bucket, context)
}

fn print(
    downloaded_objects: &[DownloadedObject],
    folders: &[ObjectEntry],
    folder: &Path,
    bucket: &Bucket,
    context: &Context,
) -> Result<(), CliError> {
    let download_errors: Vec<_> = downloaded_objects.iter().filter_map(|object| object.result.as_ref().err()).collect();
    let value = json!({
        "bucket": bucket.name(),
        "folder": folder.display().to_string(),
        "complete": download_errors.is_empty(),
        "objects": downloaded_objects,
        "folders": folders.iter().map(|entry| &entry.key).collect::<Vec<_>>(),
    });
    if !folders.is_empty() {
        context.output.note(format!("{} skipped: empty objects that stand for folders", folders.len()));
    }
    if downloaded_objects.is_empty() {
        context.output.note("nothing to download");
    }
    let outcome = |object: &DownloadedObject| match &object.result {
        Ok(outcome) if outcome.already_present => "already present".to_owned(),
        Ok(_) => "downloaded".to_owned(),
        Err(_) => "FAILED".to_owned(),
    };
    let size = |object: &DownloadedObject| {
        object.result.as_ref().map(|outcome| context.output.size(outcome.bytes)).unwrap_or_default()
    };
    let columns: [Column<'_, DownloadedObject>; 3] =
        [("outcome", &outcome), ("size", &size), ("file", &|object| object.file.clone())];
    context.output.print_object(&value, || context.output.rows(downloaded_objects, &columns))?;
    let messages: Vec<_> = download_errors.iter().map(|error| error_chain(*error)).collect();
    let result = report_failures(&messages, downloaded_objects.len(), "objects were not downloaded", context);
    if download_errors.iter().any(|error| error.is_disk_full()) {
        return Err(disk_full());
    }
    result
}
