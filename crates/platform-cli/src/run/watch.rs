use std::path::PathBuf;

use clap::Args;
use platform_pipeline::{RunWatch, WatchEvent, WatchEventKind, WatchEvents};
use platform_resources::{ItemOutcome, RunOutcome};
use terminal::{Format, Output, sanitize};

use super::{RunArgs, describe};
use crate::context::Context;
use crate::error::CliError;
use crate::results;
use crate::transfers::DownloadTransferArgs;

pub(super) const HELP: &str = "\
Events, by `event` in the JSON forms: item_ended; with --download artifact_verified, artifact_unverified and
artifact_failed; run_ended, which is the last.

With --format jsonl, each event is printed when it happens. With --format json, all events are printed as one array at the
end, also after an error, but not after a signal or --timeout.

In both, each event has a `cursor` of at most 200 bytes, after which --cursor resumes on any machine. A cursor contains the
time at which the latest item ended. Items that ended up to 60 s earlier are repeated, because the platform can report
items late; with --download, also all files from the oldest missing one on. With --state FILE, nothing
is repeated: the file holds the ids of all events. A later call retries failed files, and downloads files again that are
missing or altered, without an event. A cursor or a state file of another run is refused with exit code 2.

Exit codes: 0 all items succeeded, 6 items failed or files are missing, 1 --timeout was reached.";

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    run: RunArgs,
    /// Folder for results; they are downloaded as they become available, and an event reports each verified file
    #[arg(long, value_name = "DIR")]
    download: Option<PathBuf>,
    /// Cursor of the last event that was processed; the stream resumes after it
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// State file that records reported events, so that they are not repeated
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    transfer: DownloadTransferArgs,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let handle = arguments.run.handle(&context.transfer_client(arguments.transfer)?).await?;
    let run_end = context.follow(handle.id(), &[]);
    let watch = RunWatch::new(&handle).with_cursor(arguments.cursor).with_state_file(arguments.state);
    let watch = watch.with_download(arguments.download).with_end_observer(move || run_end.set());
    let mut events = Box::pin(watch.open()).await.map_err(super::download::with_folder_context)?;
    Box::pin(print(&mut events, &context.output)).await?;
    events.report().map_or(Ok(()), results::check_outcome)?;
    events.run().map_or(Ok(()), describe::check_outcome)
}

/// Prints each event and then records it. With `--format json`, prints all events as one array, also after an error.
async fn print(events: &mut WatchEvents, output: &Output) -> Result<(), CliError> {
    let mut document = Vec::new();
    let outcome = loop {
        match events.next().await {
            None => break Ok(()),
            Some(Err(error)) => break Err(CliError::from(error)),
            Some(Ok(event)) if output.format() == Format::Json => document.push(event),
            Some(Ok(event)) => {
                output.print_event(&event, || event_text(&event))?;
                events.record(&event)?;
            }
        }
    };
    if output.format() != Format::Json || (outcome.is_err() && document.is_empty()) {
        return outcome;
    }
    let print_result = output.print_array(&document, String::new);
    outcome?;
    print_result?;
    Ok(document.iter().try_for_each(|event| events.record(event))?)
}

fn event_text(event: &WatchEvent) -> String {
    sanitize(match &event.kind {
        WatchEventKind::ItemEnded(item) => {
            let message = item.error_message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
            format!("{}: {}{message}", item.external_id, ItemOutcome::of(item))
        }
        WatchEventKind::FileReady(file, _) => {
            let verification = if event.kind.is_verified() { "verified" } else { "unverified" };
            format!("{}, {}: {verification}, {}", file.item, file.artifact, file.file)
        }
        WatchEventKind::FileFailed { item, artifact, error, .. } => format!("{item}, {artifact}: failed: {error}"),
        WatchEventKind::RunEnded(run) => format!("run {}: {}", run.run_id, RunOutcome::of(run)),
        _ => String::new(),
    })
}
