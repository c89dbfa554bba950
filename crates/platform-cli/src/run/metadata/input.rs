use std::fs;
use std::io;

use anyhow::{Context as _, anyhow};
use platform_resources::JsonObject;

use crate::detached::detached;
use crate::error::CliError;

/// Reads the JSON object from the argument, from a file after `@`, or from stdin.
pub(super) async fn read(given: &str) -> Result<JsonObject, CliError> {
    let text = match given.strip_prefix('@').map(str::to_owned) {
        Some(path) => {
            let unreadable = format!("cannot read '{path}'");
            detached(move || fs::read_to_string(path)).await?.context(unreadable)
        }
        None if given == "-" => detached(|| io::read_to_string(io::stdin())).await?.context("cannot read stdin"),
        None => Ok(given.to_owned()),
    };
    let value = serde_json::from_str(&text.map_err(CliError::bad_input)?);
    match value.context("the metadata are not valid JSON").map_err(CliError::bad_input)? {
        serde_json::Value::Object(metadata) => Ok(metadata),
        _ => Err(CliError::bad_input(anyhow!("the metadata must be a JSON object"))),
    }
}
