//! `aignostics bucket`: what lies in the bucket of the organisation.

mod delete;
mod download;
mod find;
mod upload;

use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use platform_resources::{Bucket, ObjectEntry};
use serde_json::{Value, json};

use crate::access::Shell;
use crate::exit::Failure;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Uploads files, and all files of folders; what is there already is not sent again.
    Upload(upload::Arguments),
    /// Lists the objects whose keys fit, or all of them.
    Find(find::Arguments),
    /// Downloads objects, in folders as their keys say, and verifies them.
    Download(download::Arguments),
    /// Deletes objects, once you have said yes.
    Delete(delete::Delete),
    /// Deletes all objects of the bucket, once you have said yes.
    Purge(delete::Sure),
}

/// Which objects.
#[derive(Args)]
pub(crate) struct What {
    /// Patterns: `*` and `?` stay within a part of the key, `**` does not. Everything, if none is given.
    #[arg(value_name = "PATTERN")]
    what: Vec<String>,
    #[command(flatten)]
    keys: Keys,
}

/// Whether keys are meant.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct Keys {
    /// They are keys, not patterns.
    #[arg(long, overrides_with = "_no_what_is_key")]
    what_is_key: bool,
    #[arg(long = "no-what-is-key", overrides_with = "what_is_key", hide = true)]
    _no_what_is_key: bool,
}

pub(crate) async fn run(action: Action, shell: &Shell) -> Result<(), Failure> {
    let client = shell.client()?;
    let bucket = shell.within(async { Ok(client.bucket().await?) }).await?;
    match action {
        Action::Upload(arguments) => upload::run(arguments, bucket, shell).await,
        Action::Find(arguments) => find::run(&arguments, &bucket, shell).await,
        Action::Download(arguments) => download::run(arguments, &client, &bucket, shell).await,
        Action::Delete(arguments) => delete::run(&arguments, &bucket, shell).await,
        Action::Purge(sure) => delete::purge(sure, &bucket, shell).await,
    }
}

impl What {
    /// The objects that are meant, each once, in the order of their keys.
    async fn objects(&self, bucket: &Bucket) -> Result<Vec<ObjectEntry>, Failure> {
        let root = bucket.root();
        let mut found = Vec::new();
        for text in &self.what {
            let text = text.strip_prefix(&root).unwrap_or(text);
            if self.keys.what_is_key {
                let objects = bucket.list(text).try_filter(|entry| std::future::ready(entry.key == text));
                found.extend(objects.try_collect::<Vec<_>>().await?);
            } else {
                found.extend(bucket.find(text)?.try_collect::<Vec<_>>().await?);
            }
        }
        if self.what.is_empty() {
            found = bucket.list("").try_collect().await?;
        }
        found.sort_by(|one, other| one.key.cmp(&other.key));
        found.dedup_by(|one, other| one.key == other.key);
        Ok(found)
    }
}

/// An object, as it is listed.
fn shape(bucket: &Bucket, entry: &ObjectEntry) -> Value {
    let modified = entry.modified_at.and_then(|at| jiff::Timestamp::try_from(at).ok());
    json!({
        "key": entry.key,
        "address": format!("{}{}", bucket.root(), entry.key),
        "bytes": entry.bytes,
        "modified_at": modified.map(|at| at.to_string()),
    })
}

/// So many objects, and their bytes.
fn amount(objects: &[ObjectEntry]) -> String {
    let bytes: u64 = objects.iter().map(|entry| entry.bytes).sum();
    let noun = if objects.len() == 1 { "object" } else { "objects" };
    format!("{} {noun} of {bytes} bytes", objects.len())
}
