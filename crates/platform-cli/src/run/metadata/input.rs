use std::fs;
use std::io;

use anyhow::{Context, anyhow};
use platform_resources::JsonObject;

use crate::exit::Failure;

/// The JSON object that is given: itself, by the name of a file after `@`, or on stdin.
pub(super) fn read(given: &str) -> Result<JsonObject, Failure> {
    let text = match given.strip_prefix('@') {
        Some(path) => fs::read_to_string(path).with_context(|| format!("{path} cannot be read")),
        None if given == "-" => io::read_to_string(io::stdin()).context("stdin cannot be read"),
        None => Ok(given.to_owned()),
    };
    let value = serde_json::from_str(&text.map_err(Failure::bad_input)?);
    match value.context("the metadata are no JSON").map_err(Failure::bad_input)? {
        serde_json::Value::Object(metadata) => Ok(metadata),
        _ => Err(Failure::bad_input(anyhow!("the metadata must be a JSON object"))),
    }
}
