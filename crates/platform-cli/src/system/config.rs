use std::path::Path;

use platform_resources::SettingSource;
use serde_json::{Value, json};

use crate::access::Shell;
use crate::exit::Failure;
use crate::output;
use crate::shown::shown;

pub(super) fn run(shell: &Shell) -> Result<(), Failure> {
    let settings = shell.settings()?;
    let described = settings.describe();
    let variables = settings.sources.iter().map(|(name, source)| {
        let (kind, file) = placed(source);
        json!({ "name": name, "source": kind, "file": file.map(|path| path.display().to_string()) })
    });
    let value = json!({ "settings": described, "variables": variables.collect::<Vec<_>>() });
    shell.output.one(&value, || {
        let mut facts = Vec::new();
        flatten("", &described, &mut facts);
        let facts = shell.output.facts(facts.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let mut table = shell.output.table(["variable", "from"]);
        for (name, source) in &settings.sources {
            table.add_row([shown(name), shown(source)]);
        }
        if table.is_empty() { facts } else { format!("{facts}\n\n{}", output::text(&table)) }
    })
}

/// Returns the source of a variable.
fn placed(source: &SettingSource) -> (&'static str, Option<&Path>) {
    match source {
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
