use std::path::PathBuf;

use clap::{Args, ValueEnum};
use platform_download::{Durability, FolderOptions, Locking};
use platform_resources::{Layout, NameBy, Pattern, Selection, Shard};

use super::RunArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::progress::ProgressBars;
use crate::results;
use crate::transfers::{DigestArgs, TransferArgs, Transfers};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reading: RunArgs,
    /// Folder for the results; created if absent
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Wait for the end of the run and download results as they become available (alias: --wait-for-completion)
    #[arg(long, alias = "wait-for-completion", overrides_with = "no_follow")]
    follow: bool,
    /// Download only results that are available now
    #[arg(long, alias = "no-wait-for-completion", overrides_with = "follow")]
    no_follow: bool,
    /// Shard of the items to download, for several processes: 0/8, 1/8, … 7/8. An item always belongs to the same shard
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Download only this item, by external id or by a file name that is unique in the run. Can be repeated.
    #[arg(long, value_name = "EXTERNAL_ID")]
    item: Vec<String>,
    /// Download only artifacts whose name matches, such as `*geojson*`. Can be repeated.
    #[arg(long, value_name = "GLOB")]
    artifact: Vec<Pattern>,
    /// Download only artifacts of this type, such as `text/csv`. Can be repeated
    #[arg(long, value_name = "TYPE")]
    media_type: Vec<String>,
    #[command(flatten)]
    folders: LayoutArgs,
    /// Synchronize each file before it gets its name, all files of a moment together (syncfs), or none
    ///
    /// Without it, files can be damaged after a power failure. A killed process never damages files.
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Synchronization::File)]
    durability: Synchronization,
    #[command(flatten)]
    locks: Locks,
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

#[derive(Clone, Copy, ValueEnum)]
enum Synchronization {
    None,
    File,
    Batch,
}

impl From<Synchronization> for Durability {
    fn from(kind: Synchronization) -> Self {
        match kind {
            Synchronization::None => Self::None,
            Synchronization::File => Self::File,
            Synchronization::Batch => Self::Batch,
        }
    }
}

/// The kind of lock on the folder.
#[derive(Args, Clone, Copy)]
pub(super) struct Locks {
    /// Do not lock the folder; only one process at a time may write to it. For file systems without locks and lease
    /// files
    #[arg(long)]
    no_lock: bool,
}

impl From<Locks> for Locking {
    fn from(locks: Locks) -> Self {
        if locks.no_lock { Self::Off } else { Self::default() }
    }
}

/// The names of folders and files.
#[derive(Args, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag, and has its opposite")]
pub(crate) struct LayoutArgs {
    /// Create a folder for the run (default)
    #[arg(long, overrides_with = "no_create_subdirectory_for_run")]
    create_subdirectory_for_run: bool,
    /// Create no folder for the run
    #[arg(long)]
    no_create_subdirectory_for_run: bool,
    /// Create a folder for each item (default)
    #[arg(long, overrides_with = "no_create_subdirectory_per_item")]
    create_subdirectory_per_item: bool,
    /// Put all files into one folder
    #[arg(long)]
    no_create_subdirectory_per_item: bool,
    /// Name folders by the external id as a path, by the stem of its file name, as the Python SDK does, or by the whole id
    ///
    /// Files that the manifest of the folder lists keep their names.
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Naming::Relative)]
    name_by: Naming,
}

#[derive(Clone, Copy, ValueEnum)]
enum Naming {
    Relative,
    Stem,
    Id,
}

impl LayoutArgs {
    pub(crate) fn layout(self) -> Layout {
        let layout = Layout::default().with_folder_per_run(self.has_folder_per_run());
        let layout = layout.with_folder_per_item(!self.no_create_subdirectory_per_item);
        layout.with_names_by(match self.name_by {
            Naming::Relative => NameBy::Relative,
            Naming::Stem => NameBy::Stem,
            Naming::Id => NameBy::Id,
        })
    }

    /// Returns true if there is a folder for the run.
    pub(crate) fn has_folder_per_run(self) -> bool {
        !self.no_create_subdirectory_for_run
    }
}

/// Downloads; `thorough` is the custom of the Python tool: to wait for the end.
pub(crate) async fn run(arguments: Arguments, context: &Context, thorough: bool) -> Result<(), CliError> {
    let locking = Locking::from(arguments.locks);
    let options = FolderOptions::new().with_shard(arguments.shard.unwrap_or_default()).with_locking(locking);
    let folder = options.open(&arguments.folder).await.map_err(unusable)?;
    let selection = arguments.item.into_iter().fold(Selection::default(), Selection::with_item);
    let selection = arguments.artifact.into_iter().fold(selection, Selection::with_artifact);
    let selection = arguments.media_type.into_iter().fold(selection, Selection::with_media_type);
    let progress = ProgressBars::new(&context.output).follow();
    let run = arguments.reading.handle(&context.client()?).await?;
    let download = run.download(folder).with_selection(selection).with_layout(arguments.folders.layout());
    let followed = context.follow(run.id(), &[]);
    let download = download.with_durability(arguments.durability.into()).with_observer(move |event| {
        followed.learn(&event);
        progress.show(&event);
    });
    let follows = arguments.follow || (thorough && !arguments.no_follow);
    let report = if follows { Box::pin(download.follow()).await? } else { Box::pin(download.fetch()).await? };
    results::print(&report, &arguments.folder, &context.output)
}

/// Adds context to an error of the result folder.
pub(super) fn unusable(error: platform_resources::FolderError) -> CliError {
    CliError::from(error).context("cannot use the result folder; choose another")
}
