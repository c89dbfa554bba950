use anyhow::anyhow;
use clap::Args;
use futures_util::future::ready;
use futures_util::{StreamExt, TryStreamExt};
use platform_resources::models::{Run, RunState};
use platform_resources::operations::ListRuns;
use platform_resources::{ChangeOutcome, Client, Error, RunFilter, RunOutcome};
use serde_json::{Value, json};

use crate::confirm::Confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::format::Format;
use crate::json;
use crate::output::{self, Output};
use crate::sanitize::sanitize;
use auth_core::error_chain;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    filter: Filter,
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
struct Filter {
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

/// The result for a run.
enum Fate {
    WouldBe,
    Cancelled(ChangeOutcome),
    Failed(Error),
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let query = arguments.filter.query()?;
    let client = context.client()?;
    let runs = client.clone().no_cache().runs().list_with(query);
    let runs = runs.try_filter(|run| ready(run.state != RunState::Terminated));
    let runs: Vec<Run> = runs.take(arguments.limit.unwrap_or(usize::MAX)).try_collect().await?;
    let mut fates = Vec::new();
    if arguments.dry_run {
        fates.extend(runs.into_iter().map(|run| (run, Fate::WouldBe)));
    } else if !runs.is_empty() {
        for run in &runs {
            context.output.note(described(run));
        }
        arguments.confirm.ask(&format!("cancel {} runs?", runs.len())).await?;
        for run in runs {
            let fate = cancel(&client, &run).await;
            fates.push((run, fate));
        }
    }
    if fates.is_empty() {
        context.output.note("no active run matches");
        if context.output.format() == Format::Table {
            return Ok(());
        }
    }
    let shapes: Vec<_> = fates.iter().map(|(run, fate)| shape(run, fate)).collect();
    context.output.several(&shapes, || text(&fates, &context.output))?;
    match fates.iter().filter(|(_, fate)| matches!(fate, Fate::Failed(_))).count() {
        0 => Ok(()),
        failed => Err(CliError::incomplete(anyhow!("{failed} of {} runs could not be canceled", fates.len()))),
    }
}

impl Filter {
    fn query(self) -> Result<ListRuns, CliError> {
        let tags: Vec<_> = self.tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()).collect();
        // An empty filter, for example from an unset variable, must not match all runs.
        let empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        if tags.len() < self.tags.len() || empty(&self.application_id) || empty(&self.application_version) {
            return Err(CliError::bad_input(anyhow!("nothing was canceled, because a filter is empty")));
        }
        let mut query = ListRuns::new().with_sort(vec!["-submitted_at".to_owned()]).with_page_size(100);
        query.custom_metadata = tags.into_iter().fold(RunFilter::new(), RunFilter::with_tag).path();
        query.application_id = self.application_id;
        query.application_version = self.application_version;
        Ok(query)
    }
}

async fn cancel(client: &Client, run: &Run) -> Fate {
    match client.run(run.run_id.clone()).cancel().await {
        Ok(done) => Fate::Cancelled(done),
        Err(error) => Fate::Failed(error),
    }
}

fn described(run: &Run) -> String {
    let Run { run_id, application_id, version_number, .. } = run;
    format!("{run_id}: {application_id} {version_number}, {}", RunOutcome::of(run))
}

impl Fate {
    fn name(&self) -> &'static str {
        match self {
            Self::WouldBe => "would_be_cancelled",
            Self::Cancelled(ChangeOutcome::Applied) => "cancelled",
            Self::Cancelled(ChangeOutcome::AlreadyApplied) => "had_ended_before",
            Self::Failed(_) => "failed",
        }
    }
}

fn shape(run: &Run, fate: &Fate) -> Value {
    let error = if let Fate::Failed(error) = fate { Some(error_chain(error)) } else { None };
    json!({
        "run_id": run.run_id, "application_id": run.application_id, "version_number": run.version_number,
        "outcome_before": json::run_outcome(&RunOutcome::of(run)), "result": fate.name(), "error": error,
    })
}

fn text(fates: &[(Run, Fate)], output: &Output) -> String {
    let mut table = output.table(["run", "application", "result"]);
    for (run, fate) in fates {
        let result = match fate {
            Fate::Failed(error) => format!("failed: {}", error_chain(error)),
            fate => fate.name().replace('_', " "),
        };
        let application = format!("{} {}", run.application_id, run.version_number);
        table.add_row([sanitize(&run.run_id), sanitize(application), sanitize(result)]);
    }
    output::text(&table)
}
