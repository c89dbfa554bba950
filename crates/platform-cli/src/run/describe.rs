use auth_core::{Clock, SystemClock};
use clap::Args;
use futures_util::TryStreamExt;
use platform_resources::models::{Item, Run};
use platform_resources::{
    Activity, ArtifactOutcome, DeletedFiles, ItemOutcome, RunOutcome, item_record, results_end, run_record,
};
use serde_json::{Value, json};
use terminal::{Column, Output};

use super::{RunArgs, list};
use crate::context::Context;
use crate::error::CliError;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    run: RunArgs,
    /// Show only the progress and the outcomes of the items
    #[arg(long, short)]
    summarize: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let handle = arguments.run.handle(&context.read_client()?).await?;
    let run = handle.get().await?;
    let items: Vec<Item> = handle.items().try_collect().await?;
    let mut document = run_record(&run);
    document["items"] = Value::Array(items.iter().map(item_record).collect());
    let artifacts = items.iter().flat_map(|item| &item.output_artifacts);
    let available = artifacts.filter(|artifact| ArtifactOutcome::of(artifact) == ArtifactOutcome::Available).count();
    let deleted = DeletedFiles::of(&items);
    document["results"] = json!({
        "available": available,
        "deleted_by_user": deleted.by_user,
        "deleted_by_retention": deleted.by_retention,
    });
    let text = || {
        let output = &context.output;
        let header =
            if arguments.summarize { summary(&run, output) } else { fields(&run, Some((available, deleted)), output) };
        format!("{header}\n\n{}", table(&items, output))
    };
    Ok(context.output.print_object(&document, text)?)
}

#[derive(Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) async fn wait(arguments: WaitArgs, context: &Context) -> Result<(), CliError> {
    let run = arguments.run.handle(&context.client(Activity::Transferring)?).await?;
    context.follow(run.id(), &[]);
    let run = run.wait(None).await?;
    context.output.print_object(&run_record(&run), || fields(&run, None, &context.output))?;
    check_outcome(&run)
}

/// Returns an error unless all items succeeded.
pub(super) fn check_outcome(run: &Run) -> Result<(), CliError> {
    match RunOutcome::of(run) {
        RunOutcome::Completed => Ok(()),
        outcome => Err(CliError::incomplete(format_args!("the run did not complete: {outcome}"))),
    }
}

/// Returns a summary of a run's progress.
fn summary(run: &Run, output: &Output) -> String {
    output.non_empty_fields([
        ("run", run.run_id.to_string()),
        ("outcome", RunOutcome::of(run).to_string()),
        ("error", run.error_message.clone().unwrap_or_default()),
        ("items", item_counts(run)),
    ])
}

/// Returns the fields of a run. `files` are its available and its deleted files, if known.
pub(super) fn fields(run: &Run, files: Option<(usize, DeletedFiles)>, output: &Output) -> String {
    let count_text = |count: Option<i64>| count.map(|count| count.to_string()).unwrap_or_default();
    let scheduling = run.scheduling.as_ref();
    let has_files = files.is_none_or(|(available, _)| available > 0);
    let retention_end = results_end(run).filter(|retention_end| has_files && *retention_end > SystemClock.now());
    let until_text = retention_end.map(|_| list::results_until(run, output)).unwrap_or_default();
    let metadata = run.custom_metadata.as_ref().and_then(|metadata| serde_json::to_string_pretty(metadata).ok());
    output.non_empty_fields([
        ("run", run.run_id.to_string()),
        ("application", format!("{} {}", run.application_id, run.version_number)),
        ("state", run.state.to_string()),
        ("outcome", RunOutcome::of(run).to_string()),
        ("error", run.error_message.clone().unwrap_or_default()),
        ("error code", run.error_code.clone().unwrap_or_default()),
        ("items", item_counts(run)),
        ("submitted", output.time(run.submitted_at)),
        ("submitted by", run.submitted_by.clone()),
        ("organization", run.organization_id.clone().unwrap_or_default()),
        ("ended", output.time_or_empty(run.terminated_at)),
        ("results until", until_text),
        (
            "deleted results",
            files
                .filter(|(_, deleted)| deleted.count() > 0)
                .map(|(_, deleted)| deleted.to_string())
                .unwrap_or_default(),
        ),
        ("due", output.time_or_empty(scheduling.and_then(|scheduling| scheduling.due_date))),
        ("deadline", output.time_or_empty(scheduling.and_then(|scheduling| scheduling.deadline))),
        ("items ahead, organization", count_text(run.num_preceding_items_org)),
        ("items ahead, platform", count_text(run.num_preceding_items_platform)),
        ("metadata", metadata.unwrap_or_default()),
    ])
}

/// Returns the number of items in each state.
fn item_counts(run: &Run) -> String {
    let statistics = &run.statistics;
    let parts = [
        (statistics.item_pending_count, "pending"),
        (statistics.item_processing_count, "processing"),
        (statistics.item_succeeded_count, "succeeded"),
        (statistics.item_user_error_count, "user error"),
        (statistics.item_system_error_count, "system error"),
        (statistics.item_skipped_count, "skipped"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    format!("{} ({})", statistics.item_count, parts.collect::<Vec<_>>().join(", "))
}

fn table(items: &[Item], output: &Output) -> String {
    let artifacts = |item: &Item| {
        let (total, deleted) = (item.output_artifacts.len(), DeletedFiles::of(std::slice::from_ref(item)).count());
        if deleted == 0 { total.to_string() } else { format!("{} of {total}", total - deleted) }
    };
    let message = |item: &Item| item.error_message.clone().or_else(|| item.error_code.clone()).unwrap_or_default();
    let columns: [Column<'_, Item>; 5] = [
        ("item", &|item| item.external_id.clone()),
        ("outcome", &|item| ItemOutcome::of(item).to_string()),
        ("artifacts", &artifacts),
        ("ended", &|item| output.time_or_empty(item.terminated_at)),
        ("message", &message),
    ];
    output.table(items, &columns)
}
