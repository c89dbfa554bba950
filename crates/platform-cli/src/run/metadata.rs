//! The metadata of runs and of their items.

mod input;
mod sdk;

use clap::Args;
use platform_resources::JsonObject;
use platform_resources::models::MetadataUpdated;
use serde_json::{Value, json};

use super::RunArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, print_json};
use crate::run::parse_run_id;
use crate::sanitize::sanitize;

#[derive(Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    reading: RunArgs,
    #[command(flatten)]
    look: Look,
}

#[derive(Args)]
pub(crate) struct DumpItem {
    #[command(flatten)]
    reading: RunArgs,
    /// External id of the item
    external_id: String,
    #[command(flatten)]
    look: Look,
}

#[derive(Args, Clone, Copy)]
struct Look {
    /// Indent the JSON
    #[arg(long, overrides_with = "no_pretty")]
    pretty: bool,
    /// Print the JSON on one line (default)
    #[arg(long)]
    no_pretty: bool,
    /// Print `custom_metadata` and `custom_metadata_checksum`; an update with this checksum fails if the metadata have
    /// changed
    #[arg(long)]
    show_checksum: bool,
}

impl Look {
    fn print(self, metadata: Option<&JsonObject>, checksum: Option<&String>) -> Result<(), CliError> {
        let shape = if self.show_checksum {
            json!({ "custom_metadata": metadata, "custom_metadata_checksum": checksum })
        } else {
            json!(metadata)
        };
        print_json(&shape, self.pretty)
    }
}

#[derive(Args)]
pub(crate) struct Update {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Args)]
pub(crate) struct UpdateItem {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    /// External id of the item
    external_id: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Args)]
struct Change {
    /// Metadata as a JSON object, `@FILE`, or `-` for stdin
    #[arg(value_name = "JSON")]
    metadata: String,
    /// Expected checksum of the current metadata; if it differs, nothing changes and the exit code is 3
    #[arg(long, value_name = "CHECKSUM")]
    checksum: Option<String>,
    /// Record the author, the tool and the time of the change in the field `sdk` (default); its creation and submission
    /// times do not change
    #[arg(long, overrides_with = "no_enrich_sdk_metadata")]
    enrich_sdk_metadata: bool,
    /// Do not change the field `sdk`
    #[arg(long)]
    no_enrich_sdk_metadata: bool,
}

pub(crate) async fn dump(arguments: Dump, context: &Context) -> Result<(), CliError> {
    let run = arguments.reading.handle(&context.client()?).await?.no_cache().get().await?;
    arguments.look.print(run.custom_metadata.as_ref(), run.custom_metadata_checksum.as_ref())
}

pub(crate) async fn dump_item(arguments: DumpItem, context: &Context) -> Result<(), CliError> {
    let run = arguments.reading.handle(&context.client()?).await?.no_cache();
    let item = run.item(&arguments.external_id).await?;
    arguments.look.print(item.custom_metadata.as_ref(), item.custom_metadata_checksum.as_ref())
}

pub(crate) async fn update(arguments: Update, context: &Context) -> Result<(), CliError> {
    let Update { run, change } = arguments;
    let mut metadata = input::read(&change.metadata).await?;
    let client = context.client()?;
    let handle = client.run(run.as_str());
    if !change.no_enrich_sdk_metadata {
        let before = handle.clone().no_cache().get().await?.custom_metadata;
        sdk::renew_run(&mut metadata, before.as_ref(), &client.me().await?)?;
    }
    let updated = handle.update_metadata(metadata, change.checksum.as_deref()).await?;
    say(&json!({ "run_id": run }), &updated, &context.output)
}

pub(crate) async fn update_item(arguments: UpdateItem, context: &Context) -> Result<(), CliError> {
    let UpdateItem { run, external_id, change } = arguments;
    let mut metadata = input::read(&change.metadata).await?;
    let handle = context.client()?.run(run.as_str());
    if !change.no_enrich_sdk_metadata {
        let before = handle.clone().no_cache().item(&external_id).await?.custom_metadata;
        sdk::renew_item(&mut metadata, before.as_ref())?;
    }
    let updated = handle.update_item_metadata(&external_id, metadata, change.checksum.as_deref()).await?;
    say(&json!({ "run_id": run, "external_id": external_id }), &updated, &context.output)
}

fn say(about: &Value, updated: &MetadataUpdated, output: &Output) -> Result<(), CliError> {
    let mut shape = about.clone();
    shape["custom_metadata_checksum"] = json!(updated.custom_metadata_checksum);
    let names = ["run_id", "external_id"].into_iter().filter_map(|name| about[name].as_str());
    let names: Vec<_> = names.map(sanitize).collect();
    let checksum = updated.custom_metadata_checksum.as_ref().map(sanitize).unwrap_or_default();
    output.one(&shape, || format!("{}: updated, checksum {checksum}", names.join(", ")))
}
