//! `aignostics bucket uploads`: uploads in parts that were neither completed nor aborted.

use std::time::Duration;

use auth_core::{Clock, SystemClock, error_chain};
use clap::{Args, Subcommand};
use futures_util::TryStreamExt;
use platform_resources::{Bucket, UnfinishedUpload};
use serde_json::json;
use terminal::arguments::parse_duration;
use terminal::{Column, Confirm};

use super::report_failures;
use crate::context::Context;
use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List unfinished uploads
    List(UploadFilter),
    /// Abort unfinished uploads and delete their parts, after confirmation
    ///
    /// The storage charges for the parts. `bucket upload` continues an unfinished upload of the same file, and restarts
    /// an aborted one.
    Abort(AbortArgs),
}

/// The options that select uploads.
#[derive(Args)]
pub(crate) struct UploadFilter {
    /// Select uploads whose keys begin with a text
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// Select uploads that started before this time, such as 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    older_than: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct AbortArgs {
    #[command(flatten)]
    filter: UploadFilter,
    #[command(flatten)]
    confirm: Confirm,
}

pub(super) async fn run(action: &Action, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    match action {
        Action::List(filter) => list(&filter.matching_uploads(bucket).await?, context),
        Action::Abort(AbortArgs { filter, confirm }) => {
            let uploads = filter.matching_uploads(bucket).await?;
            if !uploads.is_empty() {
                confirm.ask(&format!("abort {} unfinished uploads to {}?", uploads.len(), bucket.root())).await?;
            }
            abort(uploads, bucket, context).await
        }
    }
}

impl UploadFilter {
    async fn matching_uploads(&self, bucket: &Bucket) -> Result<Vec<UnfinishedUpload>, CliError> {
        let mut uploads: Vec<_> = bucket.unfinished_uploads(&self.prefix).try_collect().await?;
        if let Some(age) = self.older_than {
            let now = SystemClock.now();
            // The age is unknown if the storage does not report when the upload started.
            let is_old = |upload: &UnfinishedUpload| {
                let started_at = upload.started_at?;
                Some(now.duration_since(started_at).unwrap_or_default() > age)
            };
            uploads.retain(|upload| is_old(upload).unwrap_or(false));
        }
        Ok(uploads)
    }
}

fn list(uploads: &[UnfinishedUpload], context: &Context) -> Result<(), CliError> {
    let columns: [Column<'_, UnfinishedUpload>; 3] = [
        ("started", &|upload| context.output.time_or_empty(upload.started_at)),
        ("key", &|upload| upload.key.clone()),
        ("id", &|upload| upload.upload_id.clone()),
    ];
    Ok(context.output.print_array(uploads, || context.output.table(uploads, &columns))?)
}

async fn abort(uploads: Vec<UnfinishedUpload>, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    let (total, mut values, mut errors) = (uploads.len(), Vec::new(), Vec::new());
    for upload in uploads {
        let error = bucket.abort_upload(&upload.key, &upload.upload_id).await.err().map(|error| error_chain(&error));
        let mut value = json!(upload);
        value["outcome"] = json!(if error.is_none() { "aborted" } else { "failed" });
        value["error"] = json!(error);
        values.push(value);
        errors.extend(error);
    }
    let value = json!({ "bucket": bucket.name(), "uploads": values });
    context
        .output
        .print_object(&value, || format!("aborted {} of {total} unfinished uploads", total - errors.len()))?;
    report_failures(&errors, total, "uploads were not aborted", context)
}
