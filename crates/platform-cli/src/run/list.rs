use std::time::{Duration, SystemTime};

use auth_core::{Clock, SystemClock};
use clap::{Args, ValueEnum};
use futures_util::future::ready;
use futures_util::{StreamExt, TryStreamExt};
use platform_resources::models::{Run, RunState};
use platform_resources::operations::ListRuns;
use platform_resources::{RunFilter, RunOutcome, results_end, results_safe_until};

use crate::context::Context;
use crate::error::CliError;
use crate::json;
use crate::output::{Column, Output};
use crate::time::parse_duration;

/// The minimum and maximum page size.
const PAGE: (usize, usize) = (5, 100);

#[derive(Args)]
pub(crate) struct Arguments {
    /// Maximum number of runs to list
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only runs of this application.
    #[arg(long, value_name = "ID")]
    application_id: Option<String>,
    /// Only runs of this version of an application.
    #[arg(long, value_name = "VERSION")]
    application_version: Option<String>,
    /// Only runs in this state.
    #[arg(long, value_enum, value_name = "STATE", ignore_case = true)]
    state: Option<State>,
    /// Only runs with an item of this external id
    #[arg(long, value_name = "EXTERNAL_ID")]
    external_id: Option<String>,
    /// Only runs with all of these tags, separated by commas
    #[arg(long, value_name = "TAGS", value_delimiter = ',')]
    tags: Vec<String>,
    /// Only runs whose note matches this regular expression
    #[arg(long, value_name = "REGEX")]
    note_regex: Option<String>,
    /// Ignore case in --note-regex (default)
    #[arg(long, overrides_with = "no_note_case_insensitive")]
    note_case_insensitive: bool,
    /// Match case in --note-regex
    #[arg(long)]
    no_note_case_insensitive: bool,
    /// Only runs with this text in the note or in a tag
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["tags", "note_regex"])]
    query: Option<String>,
    /// Only runs whose metadata match this PostgreSQL JSONPath, such as `$.study ? (@ == "a")`
    #[arg(long, value_name = "JSONPATH", conflicts_with_all = ["tags", "note_regex", "query"])]
    custom_metadata: Option<String>,
    /// Only runs that this user submitted; `me` is the logged-in user
    #[arg(long, value_name = "USER_ID")]
    submitted_by: Option<String>,
    /// Only runs whose submitter belongs to this organization; `my_org` is that of the logged-in user
    #[arg(long, value_name = "ID")]
    organization_id: Option<String>,
    /// All runs of this organization, of any submitter (administrators only)
    #[arg(long, value_name = "ID")]
    for_organization: Option<String>,
    /// Sort field, with a leading `-` for descending order: `submitted_at`, `terminated_at`, `application_id`,
    /// `version_number`, `run_id`, `submitted_by`, `termination_reason`. Can be repeated
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true, default_value = "-submitted_at")]
    sort: Vec<String>,
    /// Only runs whose results the platform may delete within this time, such as 5d: 30 days after their submission
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expiring: Option<Duration>,
    /// The option of the Python tool for the absence of `--verbose`
    #[arg(long = "no-verbose", hide = true)]
    _no_verbose: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum State {
    Pending,
    Processing,
    Terminated,
}

impl State {
    fn is_of(self, run: &Run) -> bool {
        match self {
            Self::Pending => run.state == RunState::Pending,
            Self::Processing => run.state == RunState::Processing,
            Self::Terminated => run.state == RunState::Terminated,
        }
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let now = SystemClock.now();
    let runs = context.client()?.runs().list_with(arguments.query());
    let Arguments { limit, state, expiring, .. } = arguments;
    // The platform has no filter for these two.
    let fits = move |run: &Run| {
        state.is_none_or(|state| state.is_of(run)) && expiring.is_none_or(|time| expires(run, now, time))
    };
    let runs = runs.try_filter(move |run| ready(fits(run))).take(limit.unwrap_or(usize::MAX));
    print(runs, &context.output, expiring.is_some()).await
}

/// Returns true if the results of a run can be deleted within this time, and are not lost yet.
fn expires(run: &Run, now: SystemTime, time: Duration) -> bool {
    let at_risk = results_safe_until(run).is_some_and(|moment| moment <= now + time);
    at_risk && results_end(run).is_some_and(|end| now <= end)
}

/// Returns the time until which the results of a run are kept, or a word for their state.
pub(super) fn results_until(run: &Run, output: &Output) -> String {
    let now = SystemClock.now();
    match (results_safe_until(run), results_end(run)) {
        (_, Some(end)) if end <= now => "deleted".to_owned(),
        (Some(moment), _) if moment <= now => "may be deleted".to_owned(),
        (Some(moment), _) => output.moment(moment),
        (None, _) => String::new(),
    }
}

impl Arguments {
    fn query(&self) -> ListRuns {
        let filter = self.tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty());
        let filter = filter.fold(RunFilter::new(), RunFilter::with_tag);
        let relaxed = !self.no_note_case_insensitive;
        let filter = self.note_regex.iter().fold(filter, |filter, regex| filter.with_note(regex, relaxed));
        let filter = self.query.iter().fold(filter, |filter, text| filter.with_text(text));
        let mut query = ListRuns::new().with_sort(self.sort.clone());
        query.custom_metadata = self.custom_metadata.clone().or_else(|| filter.path());
        query.application_id.clone_from(&self.application_id);
        query.application_version.clone_from(&self.application_version);
        query.external_id.clone_from(&self.external_id);
        query.submitted_by.clone_from(&self.submitted_by);
        query.organization_id.clone_from(&self.organization_id);
        query.for_organization.clone_from(&self.for_organization);
        let few = self.limit.filter(|_| self.state.is_none() && self.expiring.is_none());
        let size = few.map_or(PAGE.1, |limit| limit.clamp(PAGE.0, PAGE.1));
        query.with_page_size(i64::try_from(size).unwrap_or(100))
    }
}

/// Prints runs, with the time of deletion of their results if `wanted` or verbose.
async fn print(
    runs: impl futures_util::Stream<Item = Result<Run, platform_resources::Error>>,
    output: &Output,
    wanted: bool,
) -> Result<(), CliError> {
    let until = |run: &Run| results_until(run, output);
    let submitted = |run: &Run| output.moment(run.submitted_at);
    let by_whom = |run: &Run| run.submitted_by.clone();
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
    if wanted || output.verbose {
        columns.push(("results until", &until));
    }
    if output.verbose {
        columns.push(("submitted by", &by_whom));
        columns.push(("tags", &tags));
    }
    output.list(runs, json::run, &columns).await
}
