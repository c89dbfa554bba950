//! `aignostics sdk`: the SDK metadata of runs and items.

use clap::{Args, Subcommand};
use platform_resources::{ItemSdkMetadata, RunSdkMetadata};
use serde_json::Value;
use terminal::{Format, print_json};

use crate::context::Context;
use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Print the JSON Schema of the SDK metadata of a run
    RunMetadataSchema(PrettyArgs),
    /// Print the JSON Schema of the SDK metadata of an item
    ItemMetadataSchema(PrettyArgs),
}

#[derive(Args)]
pub(crate) struct PrettyArgs {
    /// Indent the JSON (default)
    #[arg(long, overrides_with = "no_pretty")]
    pretty: bool,
    /// Print the JSON on one line, like --format jsonl
    #[arg(long)]
    no_pretty: bool,
}

pub(crate) fn run(action: &Action, context: &Context) -> Result<(), CliError> {
    let (schema, pretty): (&Value, _) = match action {
        Action::RunMetadataSchema(pretty) => (RunSdkMetadata::schema(), pretty),
        Action::ItemMetadataSchema(pretty) => (ItemSdkMetadata::schema(), pretty),
    };
    let is_line = pretty.no_pretty || (context.output.format() == Format::Jsonl && !pretty.pretty);
    Ok(print_json(schema, !is_line)?)
}
