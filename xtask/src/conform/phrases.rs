//! Phrases that two documents share.

use std::collections::HashSet;

use serde_json::Value;

/// The number of words in a phrase. Shorter phrases can be equal by coincidence.
const PHRASE_WORDS: usize = 8;

/// Returns each phrase of `document` that also occurs in `reference`.
pub(super) fn shared(document: &Value, reference: &Value) -> impl Iterator<Item = String> {
    let mut reference_phrases = HashSet::new();
    visit_texts(reference, &mut |text| reference_phrases.extend(phrases(text)));
    let mut shared_phrases = Vec::new();
    visit_texts(document, &mut |text| {
        shared_phrases.extend(phrases(text).filter(|phrase| reference_phrases.contains(phrase)));
    });
    shared_phrases.into_iter()
}

/// Visits all titles, summaries and descriptions.
fn visit_texts(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| visit_texts(value, visit)),
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("title" | "summary" | "description", Value::String(text)) => visit(text),
                    _ => visit_texts(member, visit),
                }
            }
        }
        _ => {}
    }
}

/// Returns the phrases of a text, without the names of fields, which have no other wording.
fn phrases(text: &str) -> impl Iterator<Item = String> {
    let lowercase = text.to_lowercase();
    let words = lowercase.split(|character: char| !character.is_alphanumeric() && character != '_');
    let words: Vec<String> = words.filter(|word| !word.is_empty() && !word.contains('_')).map(str::to_owned).collect();
    (PHRASE_WORDS..=words.len())
        .map(move |end| words[end - PHRASE_WORDS..end].join(" "))
        .collect::<Vec<_>>()
        .into_iter()
}
