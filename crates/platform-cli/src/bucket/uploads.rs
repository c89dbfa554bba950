//! `aignostics bucket uploads`: uploads in parts that were neither completed nor aborted.

use std::time::Duration;

use anyhow::anyhow;
use auth_core::{Clock, SystemClock, error_chain};
use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use platform_resources::{Bucket, UnfinishedUpload};
use serde_json::{Value, json};

use crate::access::Shell;
use crate::confirm::Consent;
use crate::exit::Failure;
use crate::output;
use crate::shown::shown;
use crate::time::parse_duration;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List unfinished uploads
    List(Which),
    /// Abort unfinished uploads and delete their parts, after confirmation
    ///
    /// The storage charges for the parts. `bucket upload` continues an unfinished upload of the same file; an aborted one
    /// starts again.
    #[command(after_help = "Example: aignostics bucket uploads abort --older-than 7d")]
    Abort(Abort),
}

/// The selection of uploads.
#[derive(Args)]
pub(crate) struct Which {
    /// Select uploads whose keys begin with a text
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// Select uploads that started before this time, such as 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    older_than: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct Abort {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(action: &Action, bucket: &Bucket, shell: &Shell) -> Result<(), Failure> {
    match action {
        Action::List(which) => list(&which.find(bucket).await?, shell),
        Action::Abort(Abort { which, consent }) => {
            let uploads = which.find(bucket).await?;
            if !uploads.is_empty() {
                consent.ask(&format!("abort {} unfinished uploads to {}?", uploads.len(), bucket.root())).await?;
            }
            abort(uploads, bucket, shell).await
        }
    }
}

impl Which {
    async fn find(&self, bucket: &Bucket) -> Result<Vec<UnfinishedUpload>, Failure> {
        let mut uploads: Vec<_> = bucket.unfinished_uploads(&self.prefix).try_collect().await?;
        if let Some(age) = self.older_than {
            let now = SystemClock.now();
            // The age is unknown if the storage does not state the start.
            let is_old = |upload: &UnfinishedUpload| {
                let started_at = upload.started_at?;
                Some(now.duration_since(started_at).unwrap_or_default() > age)
            };
            uploads.retain(|upload| is_old(upload).unwrap_or(false));
        }
        Ok(uploads)
    }
}

fn shape(upload: &UnfinishedUpload) -> Value {
    let started_at = upload.started_at.and_then(|at| jiff::Timestamp::try_from(at).ok());
    json!({ "key": upload.key, "upload_id": upload.upload_id, "started_at": started_at.map(|at| at.to_string()) })
}

fn list(uploads: &[UnfinishedUpload], shell: &Shell) -> Result<(), Failure> {
    let shapes: Vec<_> = uploads.iter().map(shape).collect();
    shell.output.several(&shapes, || {
        let mut table = shell.output.table(["started", "key", "id"]);
        for upload in uploads {
            let started = upload.started_at.map(|at| shell.output.moment(at)).unwrap_or_default();
            table.add_row([started, shown(&upload.key), shown(&upload.upload_id)]);
        }
        output::text(&table)
    })
}

async fn abort(uploads: Vec<UnfinishedUpload>, bucket: &Bucket, shell: &Shell) -> Result<(), Failure> {
    let (total, mut shapes, mut errors) = (uploads.len(), Vec::new(), Vec::new());
    for upload in uploads {
        let error = bucket.abort_upload(&upload.key, &upload.upload_id).await.err().map(|error| error_chain(&error));
        let mut shape = shape(&upload);
        shape["outcome"] = json!(if error.is_none() { "aborted" } else { "failed" });
        shape["error"] = json!(error);
        shapes.push(shape);
        errors.extend(error);
    }
    let value = json!({ "bucket": bucket.name(), "uploads": shapes });
    shell.output.one(&value, || format!("aborted {} of {total} unfinished uploads", total - errors.len()))?;
    for error in &errors {
        shell.output.complain(error);
    }
    match errors.len() {
        0 => Ok(()),
        failed => Err(Failure::incomplete(anyhow!("{failed} of {total} uploads were not aborted"))),
    }
}
