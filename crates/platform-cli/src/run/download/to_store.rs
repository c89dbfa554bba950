//! Downloads of a run into an object store.

use std::path::Path;

use platform_resources::{RunHandle, Selection, Store, StoreAddress};

use super::LayoutArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::progress::RunBars;
use crate::results;

/// Downloads to a store. With `follows`, it waits for the end of the run.
pub(super) async fn run(
    (run, store, address): (RunHandle, Store, StoreAddress),
    (selection, folders): (Selection, LayoutArgs),
    follows: bool,
    context: &Context,
) -> Result<(), CliError> {
    let progress = RunBars::of(&context.output);
    let run_end = context.follow(run.id(), &[]);
    let address_text = address.to_string();
    let download = run.download_to_store(store, address).with_selection(selection).with_layout(folders.layout());
    let download = download.with_observer(move |event| {
        run_end.observe(&event);
        progress.show(&event);
    });
    let report = if follows { Box::pin(download.follow()).await? } else { Box::pin(download.fetch()).await? };
    results::print(&report, Path::new(&address_text), &context.output)
}
