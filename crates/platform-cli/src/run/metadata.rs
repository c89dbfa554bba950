//! The metadata of runs and of their items.

use anyhow::{Context as _, anyhow};
use auth_core::{Clock, SystemClock};
use clap::Args;
use platform_resources::models::MetadataUpdated;
use platform_resources::{ItemSdkMetadata, JsonObject};
use serde_json::{Value, json};
use terminal::input::read_text;
use terminal::{Output, print_json, sanitize};

use super::RunArgs;
use super::options::sdk_metadata;
use crate::context::Context;
use crate::error::CliError;
use crate::run::parse_run_id;

#[derive(Args)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Args)]
pub(crate) struct DumpItemArgs {
    #[command(flatten)]
    run: RunArgs,
    /// External id of the item
    external_id: String,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Args, Clone, Copy)]
struct PrintArgs {
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

impl PrintArgs {
    fn print(self, metadata: Option<&JsonObject>, checksum: Option<&String>) -> Result<(), CliError> {
        let value = if self.show_checksum {
            json!({ "custom_metadata": metadata, "custom_metadata_checksum": checksum })
        } else {
            json!(metadata)
        };
        Ok(print_json(&value, self.pretty)?)
    }
}

#[derive(Args)]
pub(crate) struct UpdateArgs {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Args)]
pub(crate) struct UpdateItemArgs {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    /// External id of the item
    external_id: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Args)]
struct ChangeArgs {
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

pub(crate) async fn dump(arguments: DumpArgs, context: &Context) -> Result<(), CliError> {
    let run = arguments.run.handle(&context.read_client()?).await?.no_cache().get().await?;
    arguments.print.print(run.custom_metadata.as_ref(), run.custom_metadata_checksum.as_ref())
}

pub(crate) async fn dump_item(arguments: DumpItemArgs, context: &Context) -> Result<(), CliError> {
    let run = arguments.run.handle(&context.read_client()?).await?.no_cache();
    let item = run.item(&arguments.external_id).await?;
    arguments.print.print(item.custom_metadata.as_ref(), item.custom_metadata_checksum.as_ref())
}

pub(crate) async fn update(arguments: UpdateArgs, context: &Context) -> Result<(), CliError> {
    let UpdateArgs { run, change } = arguments;
    let mut metadata = read_metadata(&change.metadata).await?;
    let client = context.write_client()?;
    let handle = client.run(run.as_str());
    if !change.no_enrich_sdk_metadata {
        let previous_metadata = handle.clone().no_cache().get().await?.custom_metadata;
        let sdk = sdk_metadata(&client.me().await?);
        sdk.update_from(&mut metadata, previous_metadata.as_ref(), SystemClock.now()).map_err(CliError::bad_input)?;
    }
    let updated = handle.update_metadata(metadata, change.checksum.as_deref()).await?;
    print_updated(&json!({ "run_id": run }), &updated, &context.output)
}

pub(crate) async fn update_item(arguments: UpdateItemArgs, context: &Context) -> Result<(), CliError> {
    let UpdateItemArgs { run, external_id, change } = arguments;
    let mut metadata = read_metadata(&change.metadata).await?;
    let handle = context.write_client()?.run(run.as_str());
    if !change.no_enrich_sdk_metadata {
        let previous_metadata = handle.clone().no_cache().item(&external_id).await?.custom_metadata;
        let sdk = ItemSdkMetadata::new();
        sdk.update_from(&mut metadata, previous_metadata.as_ref(), SystemClock.now()).map_err(CliError::bad_input)?;
    }
    let updated = handle.update_item_metadata(&external_id, metadata, change.checksum.as_deref()).await?;
    print_updated(&json!({ "run_id": run, "external_id": external_id }), &updated, &context.output)
}

/// Reads the JSON object from the argument, from a file after `@`, or from stdin.
async fn read_metadata(argument: &str) -> Result<JsonObject, CliError> {
    let text = match argument.strip_prefix('@') {
        Some(path) => read_text(path).await.with_context(|| format!("cannot read '{path}'")),
        None if argument == "-" => read_text(argument).await.context("cannot read stdin"),
        None => Ok(argument.to_owned()),
    };
    let value: Result<Value, _> = text.map_err(CliError::bad_input)?.parse();
    match value.context("the metadata are not valid JSON").map_err(CliError::bad_input)? {
        Value::Object(metadata) => Ok(metadata),
        _ => Err(CliError::bad_input(anyhow!("the metadata must be a JSON object"))),
    }
}

fn print_updated(ids: &Value, updated: &MetadataUpdated, output: &Output) -> Result<(), CliError> {
    let mut value = ids.clone();
    value["custom_metadata_checksum"] = json!(updated.custom_metadata_checksum);
    let names = ["run_id", "external_id"].into_iter().filter_map(|name| ids[name].as_str());
    let names: Vec<_> = names.map(sanitize).collect();
    let checksum = updated.custom_metadata_checksum.as_ref().map(sanitize).unwrap_or_default();
    Ok(output.print_object(&value, || format!("{}: updated, checksum {checksum}", names.join(", ")))?)
}
