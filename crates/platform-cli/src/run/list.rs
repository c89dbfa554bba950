use std::time::Duration;

use auth_core::{Clock, SystemClock};
use clap::Args;
use futures_util::future::ready;
use futures_util::{StreamExt, TryStreamExt};
use platform_pipeline::LocalRuns;
use platform_resources::models::{Run, RunState};
use platform_resources::operations::ListRuns;
use platform_resources::{ResultsTarget, Retention, RunOutcome, run_record};
use terminal::arguments::{choice, parse_duration};
use terminal::{Column, Output};

use super::filters::FilterArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::transfers::target_parser;

/// The minimum and maximum page size.
const PAGE_SIZES: (usize, usize) = (5, 100);
const STATES: [(&str, RunState); 3] =
    [("pending", RunState::Pending), ("processing", RunState::Processing), ("terminated", RunState::Terminated)];

#[derive(Args)]
pub(crate) struct Arguments {
    /// Maximum number of runs to list
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    filters: FilterArgs,
    /// Only runs in this state.
    #[arg(long, value_name = "STATE", ignore_case = true, value_parser = choice(STATES))]
    state: Option<RunState>,
    /// Sort field, with a leading `-` for descending order: `submitted_at`, `terminated_at`, `application_id`,
    /// `version_number`, `run_id`, `submitted_by`, `termination_reason`. Can be repeated
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true, default_value = "-submitted_at")]
    sort: Vec<String>,
    /// Only runs whose results the platform may delete within this time, such as 5d: 30 days after their submission
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expiring: Option<Duration>,
    /// Only finished runs whose results are not in this folder or store: those that `run sync` would fetch
    #[arg(long, value_name = "DIR|URL", value_parser = target_parser())]
    not_downloaded: Option<ResultsTarget>,
    /// The option of the Python tool for the absence of `--verbose`
    #[arg(long = "no-verbose", hide = true)]
    _no_verbose: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let now = SystemClock.now();
    let client = context.read_client()?;
    let runs = client.runs().list_with(arguments.query());
    let Arguments { limit, state, expiring, not_downloaded, .. } = arguments;
    let local_runs = match &not_downloaded {
        Some(target) => Some(LocalRuns::at(&client, target).await?),
        None => None,
    };
    // The platform has no filters for `state`, `expiring` and `not_downloaded`.
    let is_selected = move |run: &Run| {
        state.as_ref().is_none_or(|state| run.state == *state)
            && expiring.is_none_or(|time| Retention::is_at_risk_within(run, now, time))
    };
    let runs = runs.try_filter(move |run| ready(is_selected(run)));
    let runs = runs.map_err(CliError::from).try_filter_map(|run| async {
        let is_missing = match &local_runs {
            Some(local_runs) => local_runs.lacks(&client, &run).await?,
            None => true,
        };
        Ok(is_missing.then_some(run))
    });
    let runs = runs.take(limit.unwrap_or(usize::MAX));
    print(runs, &context.output, expiring.is_some()).await
}

/// Returns the time until which the results of a run are kept, or a text for another retention state.
pub(super) fn results_until(run: &Run, output: &Output) -> String {
    match Retention::of(run, SystemClock.now()) {
        Retention::SafeUntil(end) => output.time(end),
        Retention::AtRisk => "may be deleted".to_owned(),
        Retention::Ended => "deleted".to_owned(),
        _ => String::new(),
    }
}

impl Arguments {
    fn query(&self) -> ListRuns {
        let query = self.filters.query().with_sort(self.sort.clone());
        let is_filtered_here = self.state.is_some() || self.expiring.is_some() || self.not_downloaded.is_some();
        let limit = self.limit.filter(|_| !is_filtered_here);
        let page_size = limit.map_or(PAGE_SIZES.1, |limit| limit.clamp(PAGE_SIZES.0, PAGE_SIZES.1));
        query.with_page_size(i64::try_from(page_size).unwrap_or(100))
    }
}

/// Prints runs. With `shows_retention` or `--verbose`, this includes the time until which their results are kept.
async fn print(
    runs: impl futures_util::Stream<Item = Result<Run, CliError>>,
    output: &Output,
    shows_retention: bool,
) -> Result<(), CliError> {
    let until = |run: &Run| results_until(run, output);
    let submitted = |run: &Run| output.time(run.submitted_at);
    let submitted_by = |run: &Run| run.submitted_by.clone();
    let tags = |run: &Run| {
        let tags = run.custom_metadata.as_ref().and_then(|metadata| metadata.get("sdk")?.get("tags")?.as_array());
        let tags: Vec<_> = tags.into_iter().flatten().filter_map(|tag| tag.as_str()).collect();
        tags.join(", ")
    };
    let mut columns: Vec<Column<'_, Run>> = vec![
        ("run", &|run| run.run_id.to_string()),
        ("application", &|run| format!("{} {}", run.application_id, run.version_number)),
        ("outcome", &|run| RunOutcome::of(run).to_string()),
        ("succeeded", &|run| format!("{}/{}", run.statistics.item_succeeded_count, run.statistics.item_count)),
        ("submitted", &submitted),
    ];
    if shows_retention || output.is_verbose() {
        columns.push(("results until", &until));
    }
    if output.is_verbose() {
        columns.push(("submitted by", &submitted_by));
        columns.push(("tags", &tags));
    }
    output.print_stream(runs, |run| run_record(&run), &columns).await
}
