mod to_store;

use anyhow::anyhow;
use clap::Args;
use platform_download::{Durability, FolderOptions, Locking};
use platform_resources::{Layout, NameBy, Pattern, ResultsTarget, Selection, Shard};

use super::RunArgs;
use terminal::arguments::choice;

use crate::context::Context;
use crate::error::CliError;
use crate::progress::RunBars;
use crate::results;
use crate::transfers::{DownloadTransferArgs, target_parser};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    run: RunArgs,
    /// Folder for the results, created if absent; or a store: `gs://`, `s3://` or `az://` with a bucket and a prefix
    #[arg(value_name = "DIR|URL", default_value = ".", value_parser = target_parser())]
    target: ResultsTarget,
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
    #[command(flatten)]
    durability: DurabilityArgs,
    #[command(flatten)]
    locks: LockArgs,
    #[command(flatten)]
    transfer: DownloadTransferArgs,
}

const DURABILITY: [(&str, Durability); 3] =
    [("none", Durability::None), ("file", Durability::File), ("batch", Durability::Batch)];
const NAME_BY: [(&str, NameBy); 3] = [("relative", NameBy::Relative), ("stem", NameBy::Stem), ("id", NameBy::Id)];

/// The option for the durability of files.
#[derive(Args, Clone, Copy)]
pub(super) struct DurabilityArgs {
    /// Synchronize each file before it gets its name (file), several files together (batch), or none
    ///
    /// Without it, files can be damaged after a power failure. A killed process never damages files.
    #[arg(long, value_name = "KIND", value_parser = choice(DURABILITY), default_value = "file")]
    pub(super) durability: Durability,
}

/// The option that disables the lock of the folder.
#[derive(Args, Clone, Copy)]
pub(super) struct LockArgs {
    /// Do not lock the folder; only one process at a time may write to it. For file systems without locks and lease
    /// files
    #[arg(long)]
    no_lock: bool,
}

impl From<LockArgs> for Locking {
    fn from(locks: LockArgs) -> Self {
        if locks.no_lock { Self::Off } else { Self::default() }
    }
}

/// The options for the names of folders and files.
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
    #[arg(long, value_name = "KIND", value_parser = choice(NAME_BY), default_value = "relative")]
    name_by: NameBy,
}

impl LayoutArgs {
    pub(crate) fn layout(self) -> Layout {
        let layout = Layout::default().with_folder_per_run(self.has_folder_per_run());
        let layout = layout.with_folder_per_item(!self.no_create_subdirectory_per_item);
        layout.with_names_by(self.name_by)
    }

    /// Returns true if there is a folder for the run.
    pub(crate) fn has_folder_per_run(self) -> bool {
        !self.no_create_subdirectory_for_run
    }
}

/// Downloads the results of a run. With `follows_by_default`, it waits for the end of the run unless `--no-follow` is
/// set, like the Python SDK.
pub(crate) async fn run(arguments: Arguments, context: &Context, follows_by_default: bool) -> Result<(), CliError> {
    let follows = arguments.follow || (follows_by_default && !arguments.no_follow);
    let selection = arguments.item.into_iter().fold(Selection::default(), Selection::with_item);
    let selection = arguments.artifact.into_iter().fold(selection, Selection::with_artifact);
    let selection = arguments.media_type.into_iter().fold(selection, Selection::with_media_type);
    let path = match arguments.target {
        ResultsTarget::Folder(path) => path,
        ResultsTarget::Store(address) => {
            let has_folder_per_run = arguments.folders.has_folder_per_run();
            for (is_set, option) in
                [(arguments.shard.is_some(), "shard"), (!has_folder_per_run, "no-create-subdirectory-for-run")]
            {
                if is_set {
                    return Err(CliError::bad_input(anyhow!("--{option} cannot be used with a store")));
                }
            }
            let client = context.transfer_client(arguments.transfer)?;
            let run = arguments.run.handle(&client).await?;
            let store = client.store(&address).await.map_err(CliError::bad_input)?;
            return to_store::run((run, store, address), (selection, arguments.folders), follows, context).await;
        }
    };
    let locking = Locking::from(arguments.locks);
    let options = FolderOptions::new().with_shard(arguments.shard.unwrap_or_default()).with_locking(locking);
    let folder = options.open(&path).await.map_err(with_folder_context)?;
    let progress = RunBars::of(&context.output);
    let run = arguments.run.handle(&context.transfer_client(arguments.transfer)?).await?;
    let download = run.download(folder).with_selection(selection).with_layout(arguments.folders.layout());
    let run_end = context.follow(run.id(), &[]);
    let download = download.with_durability(arguments.durability.durability).with_observer(move |event| {
        run_end.observe(&event);
        progress.show(&event);
    });
    let report = if follows { Box::pin(download.follow()).await? } else { Box::pin(download.fetch()).await? };
    results::print(&report, &path, &context.output)
}

pub(super) const UNUSABLE_FOLDER: &str = "cannot use the result folder; choose another";

/// Adds a remedy to an error of the result folder.
pub(super) fn with_folder_context(error: impl Into<platform_pipeline::Error>) -> CliError {
    let error = error.into();
    if error.is_disk_full() {
        return results::disk_full();
    }
    let is_folder = error.folder().is_some();
    let error = CliError::from(error);
    if is_folder { error.context(UNUSABLE_FOLDER) } else { error }
}
