mod cursor;
mod event_writer;
mod seen;
mod state;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use platform_resources::models::{Item, Run};
use platform_resources::{Event, FileEvent, FileStep, ResultFolder, RunDownload, RunEvent, RunHandle, RunReport};
use tokio::sync::mpsc;

use super::{RunArgs, wait};
use crate::context::Context;
use crate::error::CliError;
use crate::interruption::FollowedRun;
use crate::results;
use crate::transfers::{DigestArgs, TransferArgs, Transfers};
use event_writer::EventWriter;
use seen::SeenEvents;

pub(super) const HELP: &str = "\
Events, by `event` in the JSON forms: item_ended; with --download artifact_verified, artifact_unverified and
artifact_failed; run_ended, which is the last.

With --format jsonl, each event is printed when it happens. With --format json, all events are printed as one array at the
end, also after an error, but not after a signal or --timeout.

In both, each event has a `cursor` of at most 200 bytes. With --cursor, a later call on any machine resumes after it. It
holds the time of the newest end so far. Items that ended up to 60 s before that are repeated, because items can end at
the same time or be reported late; with --download also files from the oldest missing one on. With --state FILE, nothing
is repeated: the file holds the ids of all events. A later call retries failed files, and downloads files again that are
missing or altered, without an event. A cursor or a state file of another run is refused with exit code 2.

Exit codes: 0 all items succeeded, 6 not all of them did or not all files came, 1 --timeout was reached.";

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reading: RunArgs,
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
    transfer: TransferArgs,
    #[command(flatten)]
    digest: DigestArgs,
}

impl Arguments {
    pub(super) fn transfers(&self) -> Transfers {
        Transfers::from(self.transfer).with_digest(self.digest)
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let handle = arguments.reading.handle(&context.client()?).await?;
    watch(&handle, &arguments, context).await
}

async fn watch(handle: &RunHandle, arguments: &Arguments, context: &Context) -> Result<(), CliError> {
    let items: Vec<Item> = handle.clone().no_cache().items().try_collect().await?;
    let (cursor, state) = (arguments.cursor.as_deref(), arguments.state.as_deref());
    let seen = SeenEvents::new(handle.id(), cursor, state, arguments.download.is_some())?;
    let (has_end, wanted) = (seen.has_end(), seen.wanted(&items));
    let mut writer = EventWriter::new(handle.id().clone(), seen, &context.output);
    if has_end && arguments.download.is_none() {
        writer.finish(false)?;
        return wait::check_outcome(&handle.clone().no_cache().get().await?);
    }
    let (sender, files) = mpsc::unbounded_channel();
    let download = match (&arguments.download, wanted) {
        (Some(folder), Some(wanted)) => {
            let folder = ResultFolder::open(folder).await.map_err(super::download::unusable)?;
            let download = handle.download(folder).with_selection(wanted);
            Some(download.with_observer(move |event| pass_on(event, &sender)))
        }
        _ => None,
    };
    let followed = context.follow(handle.id(), &[]);
    let outcome = Box::pin(follow(handle, download, files, (&mut writer, followed))).await;
    let printed = writer.finish(outcome.is_err());
    let (run, report) = outcome?;
    printed?;
    report.iter().try_for_each(results::check_outcome)?;
    wait::check_outcome(&run)
}

/// Forwards published files.
fn pass_on(event: Event, files: &mpsc::UnboundedSender<FileEvent>) {
    if let Event::File(file) = event
        && matches!(file.progress.step, FileStep::InPlace(_))
    {
        // The receiver is gone if the watch was dropped.
        let _ = files.send(file);
    }
}

/// Prints events until the run has ended and its files are published.
async fn follow(
    handle: &RunHandle,
    download: Option<RunDownload>,
    mut files: mpsc::UnboundedReceiver<FileEvent>,
    (writer, followed): (&mut EventWriter<'_>, FollowedRun),
) -> Result<(Run, Option<RunReport>), CliError> {
    let mut events = std::pin::pin!(handle.watch());
    let mut fetching = std::pin::pin!(async {
        Ok::<_, CliError>(match download {
            Some(download) => Some(download.follow().await?),
            None => None,
        })
    });
    let (mut ended, mut fetched) = (None, None);
    while ended.is_none() || fetched.is_none() {
        tokio::select! {
            event = events.next(), if ended.is_none() => match event {
                Some(Ok(RunEvent::ItemEnded(item))) => writer.item(*item)?,
                Some(Ok(RunEvent::Ended(run))) => {
                    followed.end();
                    ended = Some(*run);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(anyhow!("the event stream ended before the run").into()),
            },
            Some(file) = files.recv() => writer.file(file)?,
            report = &mut fetching, if fetched.is_none() => fetched = Some(report?),
        }
    }
    while let Ok(file) = files.try_recv() {
        writer.file(file)?;
    }
    let (run, report) = ended.zip(fetched).ok_or_else(|| anyhow!("the event stream ended early"))?;
    report.iter().try_for_each(|report| writer.failures(report))?;
    writer.end(&run)?;
    Ok((run, report))
}
