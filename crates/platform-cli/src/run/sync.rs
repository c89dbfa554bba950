use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use auth_core::error_chain;
use clap::Args;
use platform_pipeline::{PlannedRun, RunSync, SyncEvent, SyncReport, SyncedRun};
use platform_resources::ResultsTarget;
use platform_resources::models::Run;
use terminal::arguments::parse_duration;
use terminal::{Column, Format, Output, PrintError, ProgressBars};

use super::download::{DurabilityArgs, LayoutArgs, LockArgs, with_folder_context};
use super::filters::FilterArgs;
use super::list::results_until;
use crate::context::Context;
use crate::error::CliError;
use crate::progress::RunBars;
use crate::transfers::{DownloadTransferArgs, target_parser};

pub(super) const HELP: &str = "\
Without a filter for submitters, only the runs of the logged-in user are synchronized. Runs whose results are all in the
folder or store are not checked again, even if files were deleted from it: `run download` fetches them again.

Exit codes: 0 all results are there, also if nothing was new; 6 some items failed, or results are missing or were
deleted. The next call fetches missing results again, and reports failed items and deleted results only once.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Folder for the results, created if absent; or a store: `gs://`, `s3://` or `az://` with a bucket and a prefix
    #[arg(value_name = "DIR|URL", value_parser = target_parser())]
    target: ResultsTarget,
    #[command(flatten)]
    filters: FilterArgs,
    /// List the runs and download nothing
    #[arg(long, conflicts_with = "watch")]
    dry_run: bool,
    /// Repeat with this pause, such as 5m, until a signal or `--timeout`
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    watch: Option<Duration>,
    #[command(flatten)]
    folders: LayoutArgs,
    #[command(flatten)]
    durability: DurabilityArgs,
    #[command(flatten)]
    locks: LockArgs,
    #[command(flatten)]
    transfer: DownloadTransferArgs,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    if !arguments.folders.has_folder_per_run() {
        return Err(CliError::bad_input(anyhow!(
            "--no-create-subdirectory-for-run: the results of different runs would replace each other"
        )));
    }
    if arguments.watch.is_some() && context.output.format() == Format::Json {
        return Err(CliError::bad_input(anyhow!(
            "--watch --format json: each call prints an array; use --format jsonl"
        )));
    }
    let printer = Arc::new(Printer::new(&context.output));
    let sync = RunSync::to(&context.transfer_client(arguments.transfer)?, &arguments.target).await?;
    let sync = sync.with_query(arguments.filters.own_query()).with_layout(arguments.folders.layout());
    let sync = sync.with_durability(arguments.durability.durability).with_locking(arguments.locks.into());
    let sync = sync.with_observer({
        let printer = printer.clone();
        move |event| printer.show(event)
    });
    if arguments.dry_run {
        let runs = sync.plan().await?;
        let values: Vec<_> = runs.iter().map(PlannedRun::from).collect();
        return Ok(context.output.print_array(&values, || plan_table(&runs, &context.output))?);
    }
    let Some(interval) = arguments.watch else {
        let report = sync.execute().await.map_err(with_folder_context)?;
        // A closed pipe does not hide that results are missing.
        let outcome = printer.finish(&report);
        report.check().map_err(with_folder_context)?;
        return Ok(outcome?);
    };
    let report_call = |outcome: Result<&SyncReport, &platform_pipeline::Error>| {
        let Ok(report) = outcome.inspect_err(|error| terminal::warn(error_chain(*error))) else { return Ok(()) };
        report.stopped.iter().chain(&report.unavailable).for_each(|error| terminal::warn(error_chain(error)));
        if !printer.output.is_table() {
            report.unread.iter().for_each(|run| terminal::warn(format!("{}: {}", run.run_id, run.failure)));
        }
        let is_empty = report.runs.is_empty() && report.unread.is_empty();
        if is_empty { Ok(()) } else { printer.finish(report).map_err(|error| WatchEnd(error.into())) }
    };
    let WatchEnd(error) = Box::pin(sync.watch(interval, report_call)).await;
    Err(error)
}

struct WatchEnd(CliError);

impl From<platform_pipeline::Error> for WatchEnd {
    fn from(error: platform_pipeline::Error) -> Self {
        Self(with_folder_context(error))
    }
}

/// Shows the progress of the current download. Depending on the format, prints each run when it ends, or all runs at
/// the end.
struct Printer {
    output: Output,
    bars: ProgressBars,
    /// The bars of the run that is downloaded now, and the first error of printing a run.
    state: Mutex<(Option<RunBars>, Result<(), PrintError>)>,
}

impl Printer {
    fn new(output: &Output) -> Self {
        Self { output: output.clone(), bars: ProgressBars::new(output), state: Mutex::new((None, Ok(()))) }
    }

    fn state(&self) -> MutexGuard<'_, (Option<RunBars>, Result<(), PrintError>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, event: SyncEvent) {
        let mut state = self.state();
        let (run_bars, print_result) = &mut *state;
        match event {
            SyncEvent::RunStarted { .. } => *run_bars = Some(RunBars::new(&self.bars)),
            SyncEvent::Download(event) => run_bars.iter().for_each(|bars| bars.show(&event)),
            SyncEvent::RunEnded(run) => {
                *run_bars = None;
                let deleted = (run.deleted.count() > 0).then(|| run.deleted.to_string());
                let lines = run.failures.iter().chain(&deleted).map(|line| format!("{}: {line}", run.run.run_id));
                self.output.print_failures(lines);
                if self.output.format() == Format::Jsonl && print_result.is_ok() {
                    *print_result = self.output.print_event(&run, String::new);
                }
            }
            _ => {}
        }
    }

    /// Prints the parts of the report that were not printed when a run ended.
    fn finish(&self, report: &SyncReport) -> Result<(), PrintError> {
        self.output.print_failures(report.unread.iter().map(|run| format!("{}: {}", run.run_id, run.failure)));
        if self.output.format() == Format::Jsonl {
            return std::mem::replace(&mut self.state().1, Ok(()));
        }
        self.output.print_array(&report.runs, || report_table(report, &self.output))
    }
}

fn application_text(run: &Run) -> String {
    format!("{} {}", run.application_id, run.version_number)
}

fn succeeded_items(run: &Run) -> String {
    format!("{}/{}", run.statistics.item_succeeded_count, run.statistics.item_count)
}

fn plan_table(runs: &[Run], output: &Output) -> String {
    let columns: [Column<'_, Run>; 4] = [
        ("run", &|run| run.run_id.to_string()),
        ("application", &application_text),
        ("succeeded", &succeeded_items),
        ("results until", &|run| results_until(run, output)),
    ];
    output.table(runs, &columns)
}

fn report_table(report: &SyncReport, output: &Output) -> String {
    let columns: [Column<'_, SyncedRun>; 7] = [
        ("run", &|run| run.run.run_id.to_string()),
        ("application", &|run| application_text(&run.run)),
        ("status", &|run| run.status.to_string()),
        ("succeeded", &|run| succeeded_items(&run.run)),
        ("files", &|run| run.files.to_string()),
        ("new", &|run| run.fetched.to_string()),
        ("size", &|run| output.size(run.bytes)),
    ];
    output.table(&report.runs, &columns)
}
