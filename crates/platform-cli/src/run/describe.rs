use auth_core::{Clock, SystemClock};
use clap::Args;
use futures_util::TryStreamExt;
use platform_resources::models::{Item, Run};
use platform_resources::{Actor, ArtifactOutcome, ItemOutcome, RunOutcome, results_end};
use serde_json::{Value, json};

use super::{RunArgs, list};
use crate::context::Context;
use crate::error::CliError;
use crate::json;
use crate::output::{self, Output};
use crate::results::deletions;
use crate::sanitize::sanitize;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reading: RunArgs,
    /// Show only the progress and the outcomes of the items
    #[arg(long, short)]
    summarize: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let handle = arguments.reading.handle(&context.client()?).await?;
    let run = handle.get().await?;
    let items: Vec<Item> = handle.items().try_collect().await?;
    let mut document = json::run(&run)?;
    document["items"] = Value::Array(items.iter().map(json::item).collect::<Result<_, _>>()?);
    let files = FileCounts::of(&items);
    document["results"] = json!({
        "available": files.available,
        "deleted_by_user": files.deleted_by_user,
        "deleted_by_retention": files.deleted_by_retention,
    });
    context.output.one(&document, || {
        let output = &context.output;
        let about = if arguments.summarize { summary(&run, output) } else { facts(&run, Some(files), output) };
        format!("{about}\n\n{}", table(&items, &context.output))
    })
}

/// The result files of a run, as stated by the platform.
#[derive(Clone, Copy, Default)]
pub(super) struct FileCounts {
    available: usize,
    deleted_by_user: usize,
    deleted_by_retention: usize,
}

impl FileCounts {
    fn of(items: &[Item]) -> Self {
        let mut files = Self::default();
        for artifact in items.iter().flat_map(|item| &item.output_artifacts) {
            match ArtifactOutcome::of(artifact) {
                ArtifactOutcome::Available => files.available += 1,
                ArtifactOutcome::Deleted(Actor::User) => files.deleted_by_user += 1,
                ArtifactOutcome::Deleted(Actor::System) => files.deleted_by_retention += 1,
                _ => {}
            }
        }
        files
    }

    fn deleted(self) -> Option<String> {
        (self.deleted_by_user + self.deleted_by_retention > 0)
            .then(|| deletions(self.deleted_by_user, self.deleted_by_retention))
    }
}

/// Returns a summary of a run's progress.
fn summary(run: &Run, output: &Output) -> String {
    let facts = [
        ("run", run.run_id.to_string()),
        ("outcome", RunOutcome::of(run).to_string()),
        ("error", run.error_message.clone().unwrap_or_default()),
        ("items", counts(run)),
    ];
    output.facts(facts.into_iter().filter(|(_, value)| !value.is_empty()))
}

/// Returns the facts about a run, and about its `files` if known.
pub(super) fn facts(run: &Run, files: Option<FileCounts>, output: &Output) -> String {
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let moment = |at: Option<std::time::SystemTime>| at.map(|at| output.moment(at)).unwrap_or_default();
    let scheduling = run.scheduling.as_ref();
    let has_files = files.is_none_or(|files| files.available > 0);
    let end = results_end(run).filter(|end| has_files && *end > SystemClock.now());
    let until = end.map(|_| list::results_until(run, output)).unwrap_or_default();
    let metadata = run.custom_metadata.as_ref().and_then(|metadata| serde_json::to_string_pretty(metadata).ok());
    let facts = [
        ("run", run.run_id.to_string()),
        ("application", format!("{} {}", run.application_id, run.version_number)),
        ("state", run.state.to_string()),
        ("outcome", RunOutcome::of(run).to_string()),
        ("error", run.error_message.clone().unwrap_or_default()),
        ("error code", run.error_code.clone().unwrap_or_default()),
        ("items", counts(run)),
        ("submitted", output.moment(run.submitted_at)),
        ("submitted by", run.submitted_by.clone()),
        ("organization", run.organization_id.clone().unwrap_or_default()),
        ("ended", moment(run.terminated_at.map(Into::into))),
        ("results until", until),
        ("deleted results", files.and_then(FileCounts::deleted).unwrap_or_default()),
        ("due", moment(scheduling.and_then(|scheduling| scheduling.due_date).map(Into::into))),
        ("deadline", moment(scheduling.and_then(|scheduling| scheduling.deadline).map(Into::into))),
        ("items ahead, organization", number(run.num_preceding_items_org)),
        ("items ahead, platform", number(run.num_preceding_items_platform)),
        ("metadata", metadata.unwrap_or_default()),
    ];
    output.facts(facts.into_iter().filter(|(_, value)| !value.is_empty()))
}

/// Returns the number of items in each state.
fn counts(run: &Run) -> String {
    let counts = &run.statistics;
    let parts = [
        (counts.item_pending_count, "pending"),
        (counts.item_processing_count, "processing"),
        (counts.item_succeeded_count, "succeeded"),
        (counts.item_user_error_count, "user error"),
        (counts.item_system_error_count, "system error"),
        (counts.item_skipped_count, "skipped"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    format!("{} ({})", counts.item_count, parts.collect::<Vec<_>>().join(", "))
}

fn table(items: &[Item], output: &Output) -> String {
    let mut table = output.table(["item", "outcome", "artifacts", "ended", "message"]);
    for item in items {
        let message = item.error_message.as_ref().or(item.error_code.as_ref());
        let (all, deleted) = (item.output_artifacts.len(), FileCounts::of(std::slice::from_ref(item)));
        let deleted = deleted.deleted_by_user + deleted.deleted_by_retention;
        table.add_row([
            sanitize(&item.external_id),
            sanitize(ItemOutcome::of(item)),
            if deleted == 0 { all.to_string() } else { format!("{} of {all}", all - deleted) },
            item.terminated_at.map(|at| output.moment(at)).unwrap_or_default(),
            message.map(sanitize).unwrap_or_default(),
        ]);
    }
    output::text(&table)
}
