//! The results of a run download.

use std::path::Path;

use anyhow::anyhow;
use auth_core::error_chain;
use comfy_table::{CellAlignment, ColumnConstraint, Table, Width};
use platform_download::{DownloadError, FolderError};
use platform_resources::models::{RunId, RunTerminationReason};
use platform_resources::{Actor, DeletedFiles, ItemReport, RunReport, Verification};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::json;
use crate::output::{self, Output};
use crate::sanitize::sanitize;

/// Prints the results of all items on stdout and the failures on stderr, and returns an error if ended items failed.
pub(crate) fn print(report: &RunReport, folder: &Path, output: &Output) -> Result<(), CliError> {
    for line in failures(report) {
        output.print_failure(line);
    }
    let printed = output.one(&Shape::new(report, folder), || text(report, folder, output));
    // The exit code reports failures even if printing failed.
    check_outcome(report)?;
    printed
}

/// The number of rows that are laid out at a time: that takes many times the memory of their text.
const MAX_ROWS: usize = 1000;

pub(crate) fn text(report: &RunReport, folder: &Path, output: &Output) -> String {
    let mut text = rows(&report.items, output);
    text += &format!("\nresults: {}", sanitize(folder.display()));
    if let Ok(manifest) = &report.manifest {
        text += &format!("\nmanifest: {}", sanitize(manifest.display()));
    }
    text
}

/// A table with a row for each item.
fn rows(items: &[ItemReport], output: &Output) -> String {
    if items.len() <= MAX_ROWS {
        return output::text(&table(items, output));
    }
    // The widths of all rows, then all rows in these widths.
    let mut widths = [0; 4];
    for table in items.chunks(MAX_ROWS).map(|items| table(items, output)) {
        for (width, of_these) in widths.iter_mut().zip(table.column_max_content_widths()) {
            *width = of_these.max(*width);
        }
    }
    let mut text = String::new();
    for (number, items) in items.chunks(MAX_ROWS).enumerate() {
        let mut table = table(items, output);
        for (column, width) in table.column_iter_mut().zip(widths) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width.saturating_add(2))));
        }
        let rows = output::text(&table);
        // The head is that of the first.
        text += if number == 0 { &rows } else { rows.find('\n').map_or("", |end| &rows[end..]) };
    }
    text
}

fn table(items: &[ItemReport], output: &Output) -> Table {
    let mut table = output.table(["item", "outcome", "artifacts", "size"]);
    for number in [2, 3] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for item in items {
        let verified = item.artifacts.iter().filter(|artifact| artifact.outcome.is_ok()).count();
        let artifacts = format!("{verified}/{}", item.artifacts.len());
        table.add_row([sanitize(&item.external_id), sanitize(&item.outcome), artifacts, output.size(item.bytes())]);
    }
    table
}

/// A report as JSON. It can be long, so that items are serialized one by one.
#[derive(Serialize)]
struct Shape<'a> {
    run_id: &'a RunId,
    termination_reason: Option<&'a RunTerminationReason>,
    item_count: usize,
    left_out: usize,
    complete: bool,
    verified: bool,
    deleted: Value,
    folder: String,
    manifest: Option<String>,
    #[serde(serialize_with = "collect_items")]
    items: &'a [ItemReport],
}

impl<'a> Shape<'a> {
    fn new(report: &'a RunReport, folder: &Path) -> Self {
        Self {
            run_id: &report.run,
            termination_reason: report.termination_reason.as_ref(),
            item_count: report.item_count,
            left_out: report.left_out,
            complete: report.is_complete(),
            verified: report.is_verified(),
            deleted: shape(report.deleted()),
            folder: folder.display().to_string(),
            manifest: report.manifest.as_ref().ok().map(|path| path.display().to_string()),
            items: &report.items,
        }
    }
}

pub(crate) fn shape(deleted: DeletedFiles) -> Value {
    json!({ "by_user": deleted.by_user, "by_retention": deleted.by_retention })
}

fn collect_items<S: Serializer>(items: &[ItemReport], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(item))
}

/// Returns the items of a report as JSON.
pub(crate) fn items(report: &RunReport) -> Vec<Value> {
    report.items.iter().map(item).collect()
}

fn item(item: &ItemReport) -> Value {
    let artifacts = item.artifacts.iter().map(|artifact| {
        let mut shape = json::file(artifact.outcome.as_ref().map_err(|error| error_chain(&**error)));
        shape["name"] = json!(artifact.name);
        shape["file"] = json!(artifact.file);
        shape["deleted_by"] = json!(artifact.deleted_by().map(|by| match by {
            Actor::User => "user",
            Actor::System => "retention",
        }));
        shape
    });
    json!({
        "external_id": item.external_id,
        "outcome": json::item_outcome(&item.outcome),
        "error_message": item.message,
        "artifacts": artifacts.collect::<Vec<_>>(),
    })
}

/// Returns an error if the download is incomplete. Local causes have precedence.
pub(crate) fn check_outcome(report: &RunReport) -> Result<(), CliError> {
    let errors: Vec<_> = report.failures().filter_map(|error| error.downcast_ref::<DownloadError>()).collect();
    let no_room = |error: &FolderError| error.is_disk_full();
    if report.is_complete() {
        Ok(())
    } else if errors.iter().any(|error| error.is_disk_full()) || report.manifest.as_ref().is_err_and(no_room) {
        Err(anyhow!("the disk is full: free some space and repeat the command, which resumes the download").into())
    } else if errors.iter().any(|error| error.is_local()) || report.manifest.is_err() {
        Err(anyhow!("cannot write some results").into())
    } else if report.termination_reason.is_none() && errors.is_empty() && succeeded(report) {
        // All ended items succeeded; the run was not followed to its end.
        Ok(())
    } else {
        Err(CliError::incomplete(anyhow!(incomplete(report))))
    }
}

/// Describes the missing results.
fn incomplete(report: &RunReport) -> String {
    let deleted = report.deleted();
    let failed = "some items or artifacts failed";
    if deleted.count() == 0 {
        return failed.to_owned();
    }
    let others = report.failures().count() > deleted.count() || !items_succeeded(report);
    let others = if others { format!("; {failed}") } else { String::new() };
    format!("{}{others}", deletions(deleted.by_user, deleted.by_retention))
}

/// Describes the number of deleted result files, and the reason.
pub(crate) fn deletions(by_user: usize, by_retention: usize) -> String {
    let count = by_user + by_retention;
    let files = if count == 1 { "1 result file is" } else { &format!("{count} result files are") };
    match (by_user, by_retention) {
        (_, 0) => format!("{files} deleted by a user"),
        (0, _) => format!("{files} deleted by the retention policy"),
        _ => format!("{files} deleted, {by_user} by a user and {by_retention} by the retention policy"),
    }
}

fn succeeded(report: &RunReport) -> bool {
    items_succeeded(report) && report.failures().next().is_none()
}

fn items_succeeded(report: &RunReport) -> bool {
    report.items.iter().all(|item| item.outcome == platform_resources::ItemOutcome::Succeeded)
}

/// Returns a line with the reason for each failure and each unverified file.
pub(crate) fn failures(report: &RunReport) -> Vec<String> {
    let mut lines = Vec::new();
    for item in &report.items {
        let name = &item.external_id;
        lines.extend(item.message.iter().map(|message| format!("{name}: {}: {message}", item.outcome)));
        for artifact in &item.artifacts {
            match &artifact.outcome {
                // Deleted files are only counted in the error, because there may be thousands.
                Err(_) if artifact.deleted_by().is_some() => {}
                Err(error) => lines.push(format!("{name}, {}: {}", artifact.name, error_chain(&**error))),
                Ok(outcome) if outcome.verification == Verification::Unverified => {
                    lines.push(format!("{name}, {}: unverified, because no checksum is available", artifact.name));
                }
                Ok(_) => {}
            }
        }
    }
    lines.extend(report.manifest.as_ref().err().map(|error| error_chain(error)));
    lines
}
