//! `aignostics bucket`: the objects in the organization's bucket.

mod delete;
mod download;
mod find;
mod upload;
mod uploads;

use clap::{Args, Subcommand};
use futures_util::{StreamExt, TryStreamExt};
use indicatif::HumanBytes;
use platform_resources::{Bucket, ObjectEntry};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{CliError, EXAMPLES};
use crate::retries::Retries;
use crate::transfers::Transfers;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Upload files and folders; objects that already exist are skipped
    Upload(upload::Arguments),
    /// List the objects whose keys match, or all objects
    Find(find::Arguments),
    /// Download and verify objects, in folders that follow their keys
    Download(download::Arguments),
    /// Delete objects, after confirmation
    Delete(delete::Delete),
    /// Delete all objects of the bucket, after confirmation
    Purge(delete::Sure),
    /// List or abort uploads in parts that did not end
    #[command(subcommand)]
    Uploads(uploads::Action),
}

impl Action {
    /// Returns the retry limits of the command.
    pub(crate) fn retries(&self) -> Retries {
        match self {
            Self::Find(_) => Retries::Reading,
            Self::Upload(_) | Self::Download(_) => Retries::Transferring,
            Self::Delete(_) | Self::Purge(_) | Self::Uploads(_) => Retries::Changing,
        }
    }
}

impl Action {
    /// Returns the options of its transfers.
    pub(crate) fn transfers(&self) -> Transfers {
        match self {
            Self::Upload(arguments) => arguments.transfers(),
            Self::Download(arguments) => arguments.transfers(),
            Self::Find(_) | Self::Delete(_) | Self::Purge(_) | Self::Uploads(_) => Transfers::default(),
        }
    }
}

/// Which objects.
#[derive(Args)]
pub(crate) struct What {
    /// Glob patterns of keys; `*` and `?` do not match `/`, `**` does [default: all objects]
    #[arg(value_name = "PATTERN")]
    what: Vec<String>,
    #[command(flatten)]
    keys: Keys,
}

/// The option that turns patterns into keys.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct Keys {
    /// Interpret the arguments as keys, not as patterns
    #[arg(long, overrides_with = "_no_what_is_key")]
    what_is_key: bool,
    #[arg(long = "no-what-is-key", overrides_with = "what_is_key", hide = true)]
    _no_what_is_key: bool,
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let bucket = client.bucket().await?;
    match action {
        Action::Upload(arguments) => upload::run(arguments, bucket, context).await,
        Action::Find(arguments) => find::run(&arguments, &bucket, context).await,
        Action::Download(arguments) => download::run(arguments, &client, &bucket, context).await,
        Action::Delete(arguments) => delete::run(&arguments, &bucket, context).await,
        Action::Purge(sure) => delete::purge(sure, &bucket, context).await,
        Action::Uploads(action) => uploads::run(&action, &bucket, context).await,
    }
}

impl What {
    /// Returns the selected objects, each once, in key order.
    async fn objects(&self, bucket: &Bucket) -> Result<Vec<ObjectEntry>, CliError> {
        if self.what.is_empty() {
            return Ok(bucket.list("").try_collect().await?);
        }
        let mut found = Vec::new();
        for text in &self.what {
            found.extend(self.matching(text, bucket).await?);
        }
        Ok(sorted(found))
    }

    /// Returns the selected objects. A pattern or key without a match is an error, which lists the existing objects.
    async fn existing(&self, bucket: &Bucket) -> Result<Vec<ObjectEntry>, CliError> {
        if self.what.is_empty() {
            return self.objects(bucket).await;
        }
        let mut found = Vec::new();
        for text in &self.what {
            let matching = self.matching(text, bucket).await?;
            if matching.is_empty() {
                let keys: Vec<_> = bucket.list("").map_ok(|entry| entry.key).take(EXAMPLES + 1).try_collect().await?;
                return Err(CliError::nothing_selected(
                    format!("no object of {} matches '{text}'", bucket.root()),
                    text,
                    &keys,
                ));
            }
            found.extend(matching);
        }
        Ok(sorted(found))
    }

    /// Returns the objects that match one pattern or key.
    async fn matching(&self, text: &str, bucket: &Bucket) -> Result<Vec<ObjectEntry>, CliError> {
        let root = bucket.root();
        let text = text.strip_prefix(&root).unwrap_or(text);
        if !self.keys.what_is_key {
            return Ok(bucket.find(text)?.try_collect().await?);
        }
        let objects = bucket.list(text).try_filter(|entry| std::future::ready(entry.key == text));
        Ok(objects.try_collect().await?)
    }
}

fn sorted(mut objects: Vec<ObjectEntry>) -> Vec<ObjectEntry> {
    objects.sort_by(|one, other| one.key.cmp(&other.key));
    objects.dedup_by(|one, other| one.key == other.key);
    objects
}

/// Returns the JSON of an object in a listing.
fn shape(bucket: &Bucket, entry: &ObjectEntry) -> Value {
    let modified = entry.modified_at.and_then(|at| jiff::Timestamp::try_from(at).ok());
    json!({
        "key": entry.key,
        "address": format!("{}{}", bucket.root(), entry.key),
        "bytes": entry.bytes,
        "modified_at": modified.map(|at| at.to_string()),
    })
}

/// Returns the number of objects and their total size.
fn amount(objects: &[ObjectEntry]) -> String {
    let bytes: u64 = objects.iter().map(|entry| entry.bytes).sum();
    let noun = if objects.len() == 1 { "object" } else { "objects" };
    format!("{} {noun} of {}", objects.len(), HumanBytes(bytes))
}
