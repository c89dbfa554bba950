use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;
use clap::Args;
use futures_util::{StreamExt, stream};
use platform_download::{Expected, Progress, ResolvedUrl, Source, Target, safe_paths};
use platform_resources::{Bucket, Client, DownloadError, Downloader, ObjectEntry, Outcome};
use serde_json::{Value, json};

use super::What;
use crate::context::Context;
use crate::error::CliError;
use crate::json;
use crate::output;
use crate::progress::ProgressBars;
use crate::sanitize::sanitize;
use crate::transfers::{DigestArgs, TransferArgs, Transfers};
use auth_core::error_chain;

/// The lifetime of a signed URL, which is signed right before use, and again after it expired.
const URL_LIFETIME: Duration = Duration::from_secs(15 * 60);

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    what: What,
    /// Folder for the files; created if absent
    #[arg(long, value_name = "DIR", default_value = ".")]
    destination: PathBuf,
    #[command(flatten)]
    transfer: TransferArgs,
    #[command(flatten)]
    digest: DigestArgs,
}

impl Arguments {
    pub(super) fn transfers(&self) -> Transfers {
        Transfers::from(self.transfer).with_digest(self.digest)
    }
}

/// A source for an object of the bucket.
#[derive(Debug)]
struct Object<'a> {
    bucket: &'a Bucket,
    key: &'a str,
}

#[async_trait]
impl Source for Object<'_> {
    async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.bucket.get_url(self.key, URL_LIFETIME)?.into())
    }
}

/// Returns true for an empty object whose key ends with `/`. Consoles and file managers write one for each folder.
fn is_folder(entry: &ObjectEntry) -> bool {
    entry.bytes == 0 && entry.key.ends_with('/')
}

/// The result for an object.
struct Fetched {
    key: String,
    file: String,
    result: Result<Outcome, DownloadError>,
}

pub(super) async fn run(
    arguments: Arguments,
    client: &Client,
    bucket: &Bucket,
    context: &Context,
) -> Result<(), CliError> {
    let Arguments { what, destination, .. } = arguments;
    let (folders, objects): (Vec<_>, Vec<_>) = what.existing(bucket).await?.into_iter().partition(is_folder);
    let downloader = client.downloader()?;
    let fetched = fetch(&objects, &downloader, bucket, &destination, context).await;
    print(&fetched, &folders, &destination, bucket, context)
}

async fn fetch(
    objects: &[ObjectEntry],
    downloader: &Downloader,
    bucket: &Bucket,
    folder: &Path,
    context: &Context,
) -> Vec<Fetched> {
    let bar = ProgressBars::new(&context.output).download(objects.iter().map(|entry| entry.bytes).sum());
    let keys: Vec<_> = objects.iter().map(|entry| entry.key.as_str()).collect();
    let targets = safe_paths(&keys).into_iter().map(|names| Target::within(folder, names));
    let observer = |progress: Progress| match progress {
        Progress::Kept(bytes) | Progress::Durable(bytes) => bar.inc(bytes),
        Progress::Lost(bytes) => bar.dec(bytes),
        _ => {}
    };
    let downloads = objects.iter().zip(targets).map(async |(entry, target)| {
        let source = Object { bucket, key: &entry.key };
        let result = downloader.fetch(&source, Expected::unknown(), &target, &observer).await;
        Fetched { key: entry.key.clone(), file: target.relative(), result }
    });
    let fetched = stream::iter(downloads).buffered(downloader.workers()).collect().await;
    bar.finish();
    fetched
}

fn print(
    fetched: &[Fetched],
    folders: &[ObjectEntry],
    folder: &Path,
    bucket: &Bucket,
    context: &Context,
) -> Result<(), CliError> {
    let errors: Vec<_> = fetched.iter().filter_map(|object| object.result.as_ref().err()).collect();
    let value = json!({
        "bucket": bucket.name(),
        "folder": folder.display().to_string(),
        "complete": errors.is_empty(),
        "objects": fetched.iter().map(shape).collect::<Vec<_>>(),
        "folders": folders.iter().map(|entry| &entry.key).collect::<Vec<_>>(),
    });
    if !folders.is_empty() {
        context.output.note(format!("{} skipped: empty objects that stand for folders", folders.len()));
    }
    if fetched.is_empty() {
        context.output.note("nothing to download");
    }
    context.output.one(&value, || text(fetched, context))?;
    for error in &errors {
        context.output.print_failure(error_chain(*error));
    }
    match errors.len() {
        0 => Ok(()),
        _ if errors.iter().any(|error| error.is_disk_full()) => {
            Err(anyhow!("the disk is full: free some space and repeat the command, which resumes the download").into())
        }
        failed => Err(CliError::incomplete(anyhow!("{failed} of {} objects were not downloaded", fetched.len()))),
    }
}

fn text(fetched: &[Fetched], context: &Context) -> String {
    let mut table = context.output.table(["outcome", "size", "file"]);
    for Fetched { file, result, .. } in fetched {
        let (outcome, bytes) = match result {
            Ok(outcome) if outcome.already_present => ("already present", context.output.size(outcome.bytes)),
            Ok(outcome) => ("downloaded", context.output.size(outcome.bytes)),
            Err(_) => ("FAILED", String::new()),
        };
        table.add_row([outcome.to_owned(), bytes, sanitize(file)]);
    }
    if table.is_empty() { String::new() } else { output::text(&table) }
}

fn shape(object: &Fetched) -> Value {
    let mut shape = json::file(object.result.as_ref().map_err(|error| error_chain(error)));
    shape["key"] = json!(object.key);
    shape["file"] = json!(object.file);
    shape
}
