//! Cancellation of runs, and deletion of their results.

use anyhow::anyhow;
use auth_core::error_chain;
use clap::Args;
use futures_util::future::ready;
use futures_util::{StreamExt, TryStreamExt};
use platform_resources::models::{Run, RunState};
use platform_resources::operations::ListRuns;
use platform_resources::{ChangeOutcome, Client, Error, RunFilter, RunOutcome};
use serde_json::{Value, json};
use terminal::{Column, Confirm, Output, sanitize};

use super::parse_run_id;
use crate::context::Context;
use crate::error::CliError;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let handle = context.write_client()?.run(arguments.run.as_str());
    let change_outcome = handle.cancel().await?;
    let run = handle.no_cache().get().await?;
    let (outcome, had_ended) = (RunOutcome::of(&run), change_outcome == ChangeOutcome::AlreadyApplied);
    let value = json!({
        "run_id": run.run_id, "outcome": outcome.name(), "had_ended_before": had_ended,
    });
    let text = || {
        let cancelled = matches!(outcome, RunOutcome::Cancelled(_));
        match (had_ended, cancelled) {
            (false, _) => format!("{}: canceled", run.run_id),
            (true, true) => format!("{}: already {outcome}", run.run_id),
            (true, false) => format!("{}: already terminated: {outcome}", run.run_id),
        }
    };
    Ok(context.output.print_object(&value, text)?)
}

#[derive(Args)]
pub(crate) struct CancelByFilterArgs {
    #[command(flatten)]
    filter: RunFilterArgs,
    /// Maximum number of runs to cancel, newest first
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// List the runs and cancel nothing
    #[arg(long, overrides_with = "no_dry_run")]
    dry_run: bool,
    /// Cancel the runs (default)
    #[arg(long)]
    no_dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
}

/// The filters; a run must match all of them.
#[derive(Args)]
#[group(required = true, multiple = true)]
struct RunFilterArgs {
    /// Only runs with all of these tags, separated by commas
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,
    /// Only runs of this application.
    #[arg(long, value_name = "ID")]
    application_id: Option<String>,
    /// Only runs of this version of an application.
    #[arg(long, value_name = "VERSION")]
    application_version: Option<String>,
}

enum Cancellation {
    DryRun,
    Cancelled(ChangeOutcome),
    Failed(Error),
}

pub(crate) async fn run_by_filter(arguments: CancelByFilterArgs, context: &Context) -> Result<(), CliError> {
    let query = arguments.filter.query()?;
    let client = context.write_client()?;
    let runs = client.clone().no_cache().runs().list_with(query);
    let runs = runs.try_filter(|run| ready(run.state != RunState::Terminated));
    let runs: Vec<Run> = runs.take(arguments.limit.unwrap_or(usize::MAX)).try_collect().await?;
    let mut results = Vec::new();
    if arguments.dry_run {
        results.extend(runs.into_iter().map(|run| (run, Cancellation::DryRun)));
    } else if !runs.is_empty() {
        for run in &runs {
            context.output.note(describe(run));
        }
        arguments.confirm.ask(&format!("cancel {} runs?", runs.len())).await?;
        for run in runs {
            let result = cancel(&client, &run).await;
            results.push((run, result));
        }
    }
    let values: Vec<_> = results.iter().map(|(run, result)| to_json(run, result)).collect();
    context.output.print_array_or("no active run matches", &values, || table(&results, &context.output))?;
    match results.iter().filter(|(_, result)| matches!(result, Cancellation::Failed(_))).count() {
        0 => Ok(()),
        failed => Err(CliError::incomplete(format_args!("{failed} of {} runs could not be canceled", results.len()))),
    }
}

impl RunFilterArgs {
    fn query(self) -> Result<ListRuns, CliError> {
        let tags: Vec<_> = self.tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()).collect();
        // An empty filter, for example from an unset variable, must not match all runs.
        let is_empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        if tags.len() < self.tags.len() || is_empty(&self.application_id) || is_empty(&self.application_version) {
            return Err(CliError::bad_input(anyhow!("nothing was canceled, because a filter is empty")));
        }
        let mut query = ListRuns::new().with_sort(vec!["-submitted_at".to_owned()]).with_page_size(100);
        query.custom_metadata = tags.into_iter().fold(RunFilter::new(), RunFilter::with_tag).path();
        query.application_id = self.application_id;
        query.application_version = self.application_version;
        Ok(query)
    }
}

async fn cancel(client: &Client, run: &Run) -> Cancellation {
    match client.run(run.run_id.clone()).cancel().await {
        Ok(outcome) => Cancellation::Cancelled(outcome),
        Err(error) => Cancellation::Failed(error),
    }
}

fn describe(run: &Run) -> String {
    let Run { run_id, application_id, version_number, .. } = run;
    format!("{run_id}: {application_id} {version_number}, {}", RunOutcome::of(run))
}

impl Cancellation {
    fn name(&self) -> &'static str {
        match self {
            Self::DryRun => "would_be_cancelled",
            Self::Cancelled(ChangeOutcome::Applied) => "cancelled",
            Self::Cancelled(ChangeOutcome::AlreadyApplied) => "had_ended_before",
            Self::Failed(_) => "failed",
        }
    }
}

fn to_json(run: &Run, result: &Cancellation) -> Value {
    let error = if let Cancellation::Failed(error) = result { Some(error_chain(error)) } else { None };
    json!({
        "run_id": run.run_id, "application_id": run.application_id, "version_number": run.version_number,
        "outcome_before": RunOutcome::of(run).name(), "result": result.name(), "error": error,
    })
}

fn table(results: &[(Run, Cancellation)], output: &Output) -> String {
    let result_text = |result: &Cancellation| match result {
        Cancellation::Failed(error) => format!("failed: {}", error_chain(error)),
        other => other.name().replace('_', " "),
    };
    let columns: [Column<'_, (Run, Cancellation)>; 3] = [
        ("run", &|(run, _)| run.run_id.to_string()),
        ("application", &|(run, _)| format!("{} {}", run.application_id, run.version_number)),
        ("result", &|(_, result)| result_text(result)),
    ];
    output.table(results, &columns)
}

#[derive(Args)]
pub(crate) struct DeleteResultsArgs {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    #[command(flatten)]
    confirm: Confirm,
}

pub(crate) async fn delete(arguments: DeleteResultsArgs, context: &Context) -> Result<(), CliError> {
    let DeleteResultsArgs { run, confirm } = arguments;
    let handle = context.write_client()?.run(run.as_str());
    confirm.ask(&format!("permanently delete the results of run {run}?")).await?;
    let change_outcome = match handle.delete_results().await {
        Ok(change_outcome) => change_outcome,
        Err(error) if error.is_not_terminated() => {
            return Err(CliError::from(error).context("the run is not terminated: its results cannot be deleted yet"));
        }
        Err(error) => return Err(error.into()),
    };
    let changed = change_outcome == ChangeOutcome::Applied;
    let value = json!({ "run_id": run, "results": "deleted", "changed": changed });
    let text = || format!("{}: results{} deleted", sanitize(&run), if changed { "" } else { " already" });
    Ok(context.output.print_object(&value, text)?)
}
