use auth_core::error_chain;
use clap::Args;
use platform_resources::{Bucket, Deleted, Deletion, ObjectEntry};
use serde::Serialize;
use serde_json::json;
use terminal::{Column, Confirm};

use super::{KeyArgs, ObjectSelection, count_and_size, report_failures};
use crate::context::Context;
use crate::error::CliError;

#[derive(Args)]
pub(crate) struct DeleteArgs {
    /// Glob patterns of keys; `*` and `?` do not match `/`, `**` does
    #[arg(value_name = "PATTERN", required = true)]
    patterns: Vec<String>,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    deletion: DeletionArgs,
}

/// The options of a deletion.
#[derive(Args, Clone, Copy)]
pub(crate) struct DeletionArgs {
    /// List the objects and delete nothing
    #[arg(long, overrides_with = "no_dry_run")]
    dry_run: bool,
    /// Delete after confirmation (default)
    #[arg(long)]
    no_dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
}

/// The result for an object.
#[derive(Serialize)]
struct ObjectReport {
    key: String,
    bytes: u64,
    outcome: &'static str,
    error: Option<String>,
}

pub(super) async fn run(arguments: DeleteArgs, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    delete(&ObjectSelection { patterns: arguments.patterns, keys: arguments.keys }, arguments.deletion, bucket, context)
        .await
}

pub(super) async fn purge(deletion: DeletionArgs, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    delete(&ObjectSelection { patterns: Vec::new(), keys: KeyArgs::default() }, deletion, bucket, context).await
}

async fn delete(
    selection: &ObjectSelection,
    deletion: DeletionArgs,
    bucket: &Bucket,
    context: &Context,
) -> Result<(), CliError> {
    let objects = selection.objects(bucket).await?;
    let reports: Vec<_> = if deletion.dry_run {
        objects.into_iter().map(|entry| object_report(entry, None)).collect()
    } else {
        if !objects.is_empty() {
            deletion.confirm.ask(&format!("delete {} from {}?", count_and_size(&objects), bucket.root())).await?;
        }
        let deletions = bucket.delete(objects.iter().map(|entry| entry.key.clone())).await;
        objects.into_iter().zip(deletions).map(|(entry, deletion)| object_report(entry, Some(deletion))).collect()
    };
    if reports.is_empty() {
        context.output.note("nothing to delete");
    }
    let value = json!({ "bucket": bucket.name(), "dry_run": deletion.dry_run, "objects": reports });
    let columns: [Column<'_, ObjectReport>; 3] = [
        ("outcome", &|report| report.outcome.replace('_', " ")),
        ("size", &|report| context.output.size(report.bytes)),
        ("key", &|report| report.key.clone()),
    ];
    context.output.print_object(&value, || context.output.rows(&reports, &columns))?;
    let errors: Vec<_> = reports.iter().filter_map(|report| report.error.clone()).collect();
    report_failures(&errors, reports.len(), "objects were not deleted", context)
}

fn object_report(entry: ObjectEntry, deletion: Option<Deletion>) -> ObjectReport {
    let (outcome, error) = match deletion.map(|deletion| deletion.result) {
        None => ("would_be_deleted", None),
        Some(Ok(Deleted::Absent)) => ("absent", None),
        Some(Ok(_)) => ("deleted", None),
        Some(Err(error)) => ("failed", Some(error_chain(&error))),
    };
    ObjectReport { key: entry.key, bytes: entry.bytes, outcome, error }
}
