//! Sequences of words that two documents share.

use std::collections::HashSet;

use serde_json::Value;

/// The minimum length of a shared sequence that is not a coincidence.
const RUN: usize = 8;

/// Returns each sequence of words of `document` that also occurs in `reference`.
pub(super) fn shared(document: &Value, reference: &Value) -> impl Iterator<Item = String> {
    let mut known = HashSet::new();
    texts(reference, &mut |text| known.extend(runs(text)));
    let mut shared = Vec::new();
    texts(document, &mut |text| shared.extend(runs(text).filter(|run| known.contains(run))));
    shared.into_iter()
}

/// Visits all texts for human readers.
fn texts(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| texts(value, visit)),
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("title" | "summary" | "description", Value::String(text)) => visit(text),
                    _ => texts(member, visit),
                }
            }
        }
        _ => {}
    }
}

/// Returns the sequences of words in a text. Names of fields do not count, because they cannot be worded differently.
fn runs(text: &str) -> impl Iterator<Item = String> {
    let lower = text.to_lowercase();
    let words = lower.split(|character: char| !character.is_alphanumeric() && character != '_');
    let words: Vec<String> = words.filter(|word| !word.is_empty() && !word.contains('_')).map(str::to_owned).collect();
    (RUN..=words.len()).map(move |end| words[end - RUN..end].join(" ")).collect::<Vec<_>>().into_iter()
}
