//! `aignostics bucket`: the objects in the organization's bucket.

mod copy;
mod credentials;
mod delete;
mod download;
pub(crate) mod exec;
mod upload;
mod uploads;

use clap::{Args, Subcommand};
use futures_util::{StreamExt, TryStreamExt};
use platform_resources::{Bucket, ObjectEntry};
use serde_json::{Value, json};
use terminal::{Column, MAX_NAMES};

use crate::context::Context;
use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Upload files and folders; objects that already exist are skipped
    Upload(upload::Arguments),
    /// Copy objects of another store into the bucket; objects that already exist are skipped
    #[command(after_help = copy::HELP)]
    Copy(copy::Arguments),
    /// List the objects whose keys match, or all objects
    Find(FindArgs),
    /// Download and verify objects, in folders that follow their keys
    Download(download::Arguments),
    /// Delete objects, after confirmation
    Delete(delete::DeleteArgs),
    /// Delete all objects of the bucket, after confirmation
    Purge(delete::DeletionArgs),
    /// List or abort unfinished multipart uploads
    #[command(subcommand)]
    Uploads(uploads::Action),
    /// Write a file with the key of the bucket for another tool
    #[command(after_help = credentials::HELP)]
    Credentials(credentials::Arguments),
    /// Run a command with the key of the bucket in its environment, and exit with its exit code
    #[command(after_help = exec::HELP)]
    Exec(exec::Arguments),
}

/// The selection of objects.
#[derive(Args)]
pub(crate) struct ObjectSelection {
    /// Glob patterns of keys; `*` and `?` do not match `/`, `**` does [default: all objects]
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    #[command(flatten)]
    keys: KeyArgs,
}

/// The option that interprets the arguments as keys.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct KeyArgs {
    /// Interpret the arguments as keys, not as patterns
    #[arg(long, overrides_with = "_no_what_is_key")]
    what_is_key: bool,
    #[arg(long = "no-what-is-key", overrides_with = "what_is_key", hide = true)]
    _no_what_is_key: bool,
}

#[derive(Args)]
pub(crate) struct FindArgs {
    #[command(flatten)]
    selection: ObjectSelection,
    /// Show sizes and times (always on)
    #[arg(long)]
    detail: bool,
    #[arg(long = "no-detail", hide = true)]
    _no_detail: bool,
    /// Add a signed URL to each object; anyone can read the object with it until it expires
    #[arg(long)]
    signed_urls: bool,
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    let client = match &action {
        Action::Find(_) | Action::Credentials(_) | Action::Exec(_) => context.read_client(),
        Action::Upload(upload::Arguments { transfer, .. }) | Action::Copy(copy::Arguments { transfer, .. }) => {
            context.transfer_client(*transfer)
        }
        Action::Download(arguments) => context.transfer_client(arguments.transfer),
        Action::Delete(_) | Action::Purge(_) | Action::Uploads(_) => context.write_client(),
    }?;
    if let Action::Credentials(arguments) = action {
        return credentials::run(arguments, &client, context).await;
    }
    let bucket = client.bucket().await?;
    match action {
        Action::Upload(arguments) => upload::run(arguments, bucket, context).await,
        Action::Copy(arguments) => copy::run(arguments, &client, bucket, context).await,
        Action::Find(arguments) => find(&arguments, &bucket, context).await,
        Action::Download(arguments) => download::run(arguments, &client, &bucket, context).await,
        Action::Delete(arguments) => delete::run(arguments, &bucket, context).await,
        Action::Purge(deletion) => delete::purge(deletion, &bucket, context).await,
        Action::Uploads(action) => uploads::run(&action, &bucket, context).await,
        // `credentials` is handled above, and `exec` in `main`, because its child receives the signals.
        Action::Credentials(_) | Action::Exec(_) => Err(anyhow::anyhow!("the command is not run here").into()),
    }
}

impl ObjectSelection {
    /// Returns the selected objects, each once, in key order.
    async fn objects(&self, bucket: &Bucket) -> Result<Vec<ObjectEntry>, CliError> {
        Ok(bucket.select(&self.patterns, self.keys.what_is_key).await?.objects)
    }

    /// Returns the selected objects. A pattern or key without a match is an error, which lists the existing objects.
    async fn require_matches(&self, bucket: &Bucket) -> Result<Vec<ObjectEntry>, CliError> {
        let selected = bucket.select(&self.patterns, self.keys.what_is_key).await?;
        let Some(unmatched) = selected.unmatched.first() else { return Ok(selected.objects) };
        let keys: Vec<_> = bucket.list("").map_ok(|entry| entry.key).take(MAX_NAMES + 1).try_collect().await?;
        let message = format!("no object of {} matches '{unmatched}'", bucket.root());
        Err(CliError::no_match(message, unmatched, &keys))
    }
}

/// Prints the errors of objects. If one object failed, returns the error "{number of errors} of {count} {failure}".
fn report_failures(errors: &[String], count: usize, failure: &str, context: &Context) -> Result<(), CliError> {
    context.output.print_failures(errors);
    match errors.len() {
        0 => Ok(()),
        failed => Err(CliError::incomplete(format_args!("{failed} of {count} {failure}"))),
    }
}

async fn find(arguments: &FindArgs, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    let FindArgs { selection, signed_urls, .. } = arguments;
    let objects = selection.objects(bucket).await?;
    let url = |entry: &ObjectEntry| bucket.get_url(&entry.key, None).map(|url| url.expose().to_string());
    let mut values = Vec::new();
    for entry in &objects {
        let mut value = json!(entry);
        value["address"] = json!(format!("{}{}", bucket.root(), entry.key));
        if *signed_urls {
            value["signed_url"] = json!(url(entry).map_err(platform_resources::Error::from)?);
        }
        values.push(value);
    }
    let output = &context.output;
    let columns: [Column<'_, (&ObjectEntry, &Value)>; 4] = [
        ("size", &|(entry, _)| output.size(entry.bytes)),
        ("modified", &|(entry, _)| output.time_or_empty(entry.modified_at)),
        ("key", &|(entry, _)| entry.key.clone()),
        ("signed URL", &|(_, value)| value["signed_url"].as_str().unwrap_or_default().to_owned()),
    ];
    let columns = &columns[..if *signed_urls { 4 } else { 3 }];
    let rows: Vec<_> = objects.iter().zip(&values).collect();
    Ok(output.print_array(&values, || output.table(&rows, columns))?)
}

/// Returns the number of objects and their total size as text.
fn count_and_size(objects: &[ObjectEntry]) -> String {
    let bytes: u64 = objects.iter().map(|entry| entry.bytes).sum();
    let noun = if objects.len() == 1 { "object" } else { "objects" };
    format!("{} {noun} of {}", objects.len(), terminal::bytes(bytes))
}
