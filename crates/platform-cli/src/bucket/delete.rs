use anyhow::anyhow;
use clap::Args;
use platform_resources::{Bucket, Deleted, Deletion, ObjectEntry};
use serde_json::{Value, json};

use super::{Keys, What, amount};
use crate::confirm::Confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::sanitize::sanitize;
use auth_core::error_chain;

#[derive(Args)]
pub(crate) struct Delete {
    /// Glob patterns of keys; `*` and `?` do not match `/`, `**` does
    #[arg(value_name = "PATTERN", required = true)]
    what: Vec<String>,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    sure: Sure,
}

/// The options for a dry run.
#[derive(Args, Clone, Copy)]
pub(crate) struct Sure {
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
struct Report {
    key: String,
    bytes: u64,
    outcome: &'static str,
    error: Option<String>,
}

pub(super) async fn run(arguments: &Delete, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    let what = What { what: arguments.what.clone(), keys: arguments.keys };
    delete(&what, arguments.sure, bucket, context).await
}

pub(super) async fn purge(sure: Sure, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    delete(&What { what: Vec::new(), keys: Keys::default() }, sure, bucket, context).await
}

async fn delete(what: &What, sure: Sure, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    let objects = what.objects(bucket).await?;
    let reports: Vec<_> = if sure.dry_run {
        objects.into_iter().map(|entry| report(entry, None)).collect()
    } else {
        if !objects.is_empty() {
            sure.confirm.ask(&format!("delete {} from {}?", amount(&objects), bucket.root())).await?;
        }
        let keys: Vec<_> = objects.iter().map(|entry| entry.key.clone()).collect();
        let deletions = bucket.delete(keys).await;
        objects.into_iter().zip(deletions).map(|(entry, deletion)| report(entry, Some(deletion))).collect()
    };
    print(&reports, sure.dry_run, bucket, context)
}

fn report(entry: ObjectEntry, deletion: Option<Deletion>) -> Report {
    let (outcome, error) = match deletion.map(|deletion| deletion.result) {
        None => ("would_be_deleted", None),
        Some(Ok(Deleted::Absent)) => ("absent", None),
        Some(Ok(_)) => ("deleted", None),
        Some(Err(error)) => ("failed", Some(error_chain(&error))),
    };
    Report { key: entry.key, bytes: entry.bytes, outcome, error }
}

fn print(reports: &[Report], dry_run: bool, bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    let objects: Vec<Value> = reports
        .iter()
        .map(|Report { key, bytes, outcome, error }| {
            json!({ "key": key, "bytes": bytes, "outcome": outcome, "error": error })
        })
        .collect();
    let value = json!({ "bucket": bucket.name(), "dry_run": dry_run, "objects": objects });
    if reports.is_empty() {
        context.output.note("nothing to delete");
    }
    context.output.one(&value, || {
        let mut table = context.output.table(["outcome", "size", "key"]);
        for Report { key, bytes, outcome, .. } in reports {
            table.add_row([outcome.replace('_', " "), context.output.size(*bytes), sanitize(key)]);
        }
        if table.is_empty() { String::new() } else { output::text(&table) }
    })?;
    let errors: Vec<_> = reports.iter().filter_map(|report| report.error.as_ref()).collect();
    for error in &errors {
        context.output.print_failure(error);
    }
    match errors.len() {
        0 => Ok(()),
        failed => Err(CliError::incomplete(anyhow!("{failed} of {} objects were not deleted", reports.len()))),
    }
}
