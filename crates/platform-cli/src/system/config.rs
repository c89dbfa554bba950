use std::path::Path;

use anyhow::anyhow;
use clap::Subcommand;
use platform_resources::{SettingSource, SettingsFile};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{self, Output, print};
use crate::sanitize::sanitize;

/// A change of the file that `AIGNOSTICS_ENV_FILE` names, or else of `~/.aignostics/.env`.
#[derive(Subcommand)]
pub(crate) enum Change {
    /// Print the value of a setting in the settings file
    Get {
        /// Name of the setting, such as `run_timeout` or `AIGNOSTICS_RUN_TIMEOUT`
        key: String,
    },
    /// Write a setting to the settings file; secrets are refused
    Set {
        /// Name of the setting
        key: String,
        /// Value
        value: String,
    },
    /// Remove a setting from the settings file
    Unset {
        /// Name of the setting
        key: String,
    },
}

pub(super) fn change(change: &Change, output: &Output) -> Result<(), CliError> {
    let file = SettingsFile::of_this_user().map_err(CliError::bad_input)?;
    let path = file.path().display();
    match change {
        Change::Get { key } => match file.get(key).map_err(CliError::bad_input)? {
            Some(value) => print(value),
            None => Err(CliError::not_found(anyhow!("'{path}' does not set '{key}'"))),
        },
        Change::Set { key, value } => {
            file.set(key, value).map_err(CliError::bad_input)?;
            output.note(format!("written to {path}"));
            Ok(())
        }
        Change::Unset { key } => {
            let had_it = file.unset(key).map_err(CliError::bad_input)?;
            output.note(if had_it { format!("removed from {path}") } else { format!("{path} does not set it") });
            Ok(())
        }
    }
}

pub(super) fn run(context: &Context) -> Result<(), CliError> {
    let settings = context.settings()?;
    let described = settings.describe();
    let variables = settings.sources.iter().map(|(name, source)| {
        let (kind, file) = placed(source);
        json!({ "name": name, "source": kind, "file": file.map(|path| path.display().to_string()) })
    });
    let value = json!({ "settings": described, "variables": variables.collect::<Vec<_>>() });
    context.output.one(&value, || {
        let mut facts = Vec::new();
        flatten("", &described, &mut facts);
        let facts = context.output.facts(facts.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let mut table = context.output.table(["variable", "from"]);
        for (name, source) in &settings.sources {
            table.add_row([sanitize(name), sanitize(source)]);
        }
        if table.is_empty() { facts } else { format!("{facts}\n\n{}", output::text(&table)) }
    })
}

/// Returns the source of a variable.
fn placed(source: &SettingSource) -> (&'static str, Option<&Path>) {
    match source {
        SettingSource::Flag => ("flag", None),
        SettingSource::Profile(_) => ("profile", None),
        SettingSource::Environment => ("environment", None),
        SettingSource::File(path) => ("file", Some(path)),
        _ => ("default", None),
    }
}

/// Flattens settings into lines: the group name and a dot precede each name.
fn flatten(group: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = if group.is_empty() { name.clone() } else { format!("{group}.{name}") };
                flatten(&name, value, lines);
            }
        }
        Value::String(text) => lines.push((group.to_owned(), text.clone())),
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            lines.push((group.to_owned(), texts.collect::<Vec<_>>().join(", ")));
        }
        Value::Null => lines.push((group.to_owned(), "–".to_owned())),
        other => lines.push((group.to_owned(), other.to_string())),
    }
}
