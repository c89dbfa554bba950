//! `aignostics bucket uploads`: uploads in parts that were neither completed nor aborted.

use std::time::Duration;

use anyhow::anyhow;
use auth_core::{Clock, SystemClock, error_chain};
use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use platform_resources::{Bucket, UnfinishedUpload};
use serde_json::{Value, json};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::sanitize::sanitize;
use crate::time::parse_duration;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List unfinished uploads
    List(Which),
    /// Abort unfinished uploads and delete their parts, after confirmation
    ///
    /// The storage charges for the parts. `bucket upload` continues an unfinished upload of the same file; an aborted one
    /// starts again.
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
    confirm: Confirm,
}

pub(super) async fn run(action: &Action, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    match action {
        Action::List(which) => list(&which.find(bucket).await?, context),
        Action::Abort(Abort { which, confirm }) => {
            let uploads = which.find(bucket).await?;
            if !uploads.is_empty() {
                confirm.ask(&format!("abort {} unfinished uploads to {}?", uploads.len(), bucket.root())).await?;
            }
            abort(uploads, bucket, context).await
        }
    }
}

impl Which {
    async fn find(&self, bucket: &Bucket) -> Result<Vec<UnfinishedUpload>, CliError> {
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

fn list(uploads: &[UnfinishedUpload], context: &Context) -> Result<(), CliError> {
    let shapes: Vec<_> = uploads.iter().map(shape).collect();
    context.output.several(&shapes, || {
        let mut table = context.output.table(["started", "key", "id"]);
        for upload in uploads {
            let started = upload.started_at.map(|at| context.output.moment(at)).unwrap_or_default();
            table.add_row([started, sanitize(&upload.key), sanitize(&upload.upload_id)]);
        }
        output::text(&table)
    })
}

async fn abort(uploads: Vec<UnfinishedUpload>, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
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
    context.output.one(&value, || format!("aborted {} of {total} unfinished uploads", total - errors.len()))?;
    for error in &errors {
        context.output.print_failure(error);
    }
    match errors.len() {
        0 => Ok(()),
        failed => Err(CliError::incomplete(anyhow!("{failed} of {total} uploads were not aborted"))),
    }
}
