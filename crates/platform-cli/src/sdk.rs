//! `aignostics sdk`: the SDK metadata of runs and items.

use clap::{Args, Subcommand};
use platform_resources::{ItemSdkMetadata, RunSdkMetadata};
use serde_json::{Value, to_string, to_string_pretty};

use crate::access::Shell;
use crate::exit::Failure;
use crate::format::Format;
use crate::output::print;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Print the JSON Schema of the SDK metadata of a run
    RunMetadataSchema(Looks),
    /// Print the JSON Schema of the SDK metadata of an item
    ItemMetadataSchema(Looks),
}

#[derive(Args)]
pub(crate) struct Looks {
    /// Indent the JSON (default)
    #[arg(long, overrides_with = "no_pretty")]
    pretty: bool,
    /// Print the JSON on one line, like --format jsonl
    #[arg(long)]
    no_pretty: bool,
}

pub(crate) fn run(action: &Action, shell: &Shell) -> Result<(), Failure> {
    let (schema, looks): (&Value, _) = match action {
        Action::RunMetadataSchema(looks) => (RunSdkMetadata::schema(), looks),
        Action::ItemMetadataSchema(looks) => (ItemSdkMetadata::schema(), looks),
    };
    let is_line = looks.no_pretty || (shell.output.format() == Format::Jsonl && !looks.pretty);
    print(if is_line { to_string(schema)? } else { to_string_pretty(schema)? })
}
