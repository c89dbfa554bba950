//! Phrases that two documents share.

use std::collections::HashSet;

use serde_json::Value;

/// The number of words in a phrase. Shorter phrases can be equal by coincidence.
const PHRASE_WORDS: usize = 8;

/// Returns each phrase of `document` that also occurs in `reference`.
pub(super) fn shared(document: &Value, reference: &Value) -> impl Iterator<Item = String> {
    let mut known = HashSet::new();
    texts(reference, &mut |text| known.extend(phrases(text)));
    let mut shared = Vec::new();
    texts(document, &mut |text| shared.extend(phrases(text).filter(|phrase| known.contains(phrase))));
    shared.into_iter()
}

/// Visits all titles, summaries and descriptions.
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

/// Returns the phrases of a text, without the names of fields, which have no other wording.
fn phrases(text: &str) -> impl Iterator<Item = String> {
    let lower = text.to_lowercase();
    let words = lower.split(|character: char| !character.is_alphanumeric() && character != '_');
    let words: Vec<String> = words.filter(|word| !word.is_empty() && !word.contains('_')).map(str::to_owned).collect();
    (PHRASE_WORDS..=words.len())
        .map(move |end| words[end - PHRASE_WORDS..end].join(" "))
        .collect::<Vec<_>>()
        .into_iter()
}
