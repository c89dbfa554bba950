//! The details of an error response that are safe to show.

use std::fmt::{self, Write};

use crate::JsonValue;

/// The maximum length of a message, in characters.
const MAX_CHARS: usize = 300;
/// The maximum length of a word, in characters. A longer word is masked, because it may be a secret, such as a token or
/// a signature.
const MAX_WORD_CHARS: usize = 40;

/// A problem with a request, reported by the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorDetail {
    /// The location in the request, such as `body.items[0].external_id`, or `None` if the platform does not report it.
    pub path: Option<String>,
    /// The message of the platform, with possible secrets removed.
    pub message: String,
}

impl fmt::Display for ErrorDetail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(formatter, "{path}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

/// Returns the problems in an error response. Its field `detail` is a text, or a list of objects with a location and a
/// message. Without problems, also returns the start of the response.
pub(crate) fn parse(body: &[u8]) -> (Vec<ErrorDetail>, Option<String>) {
    let detail =
        serde_json::from_slice::<JsonValue>(body).ok().and_then(|mut body| body.get_mut("detail").map(JsonValue::take));
    let details = match detail {
        Some(JsonValue::String(text)) => vec![ErrorDetail { path: None, message: sanitized(&text) }],
        Some(JsonValue::Array(problems)) => problems.iter().filter_map(parse_problem).collect(),
        _ => Vec::new(),
    };
    let snippet = (details.is_empty() && !body.is_empty()).then(|| sanitized(&String::from_utf8_lossy(body)));
    (details, snippet)
}

fn parse_problem(problem: &JsonValue) -> Option<ErrorDetail> {
    let message = sanitized(problem.get("msg")?.as_str()?);
    let path = problem.get("loc").and_then(JsonValue::as_array).map(|steps| format_path(steps));
    Some(ErrorDetail { path: path.filter(|path| !path.is_empty()), message })
}

fn format_path(steps: &[JsonValue]) -> String {
    steps.iter().fold(String::new(), |mut path, step| {
        // Writing to a string cannot fail.
        let _ = match step {
            JsonValue::String(name) if path.is_empty() => write!(path, "{}", sanitized(name)),
            JsonValue::String(name) => write!(path, ".{}", sanitized(name)),
            other => write!(path, "[{other}]"),
        };
        path
    })
}

/// Returns text from a response on one line. URL queries, and words that are long enough to be secrets, are masked.
fn sanitized(text: &str) -> String {
    let words = text.split_whitespace().map(|word| {
        let start = word.char_indices().nth(MAX_WORD_CHARS).map_or(word, |(end, _)| &word[..end]);
        match start.split_once('?').filter(|(url, _)| url.contains("://")) {
            Some((url, _)) => format!("{url}?***"),
            None if start.len() < word.len() => "***".to_owned(),
            None => start.chars().filter(|character| !character.is_control()).collect(),
        }
    });
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitized_text_is_one_line_without_secrets() {
        let canary = "canary".repeat(8);
        for (text, expected) in [
            ("Jwt is missing", "Jwt is missing"),
            ("two\n lines \u{1b}[31m", "two lines [31m"),
            ("at https://b.test/o?X-Sig=canary now", "at https://b.test/o?*** now"),
            (&format!("token {canary}"), "token ***"),
            ("what? yes", "what? yes"),
        ] {
            assert_eq!(sanitized(text), expected);
        }
        assert_eq!(sanitized(&"word ".repeat(1000)).chars().count(), MAX_CHARS);
    }

    #[test]
    fn problems_are_parsed_with_paths_or_shown_as_a_snippet() {
        let body =
            r#"{"detail":[{"loc":["body","items",0,"external_id"],"msg":"Field required"},{"msg":"no place"},7]}"#;
        let (details, snippet) = parse(body.as_bytes());
        let messages: Vec<_> = details.iter().map(ToString::to_string).collect();
        assert_eq!(messages, ["body.items[0].external_id: Field required", "no place"]);
        assert_eq!(snippet, None);
        assert_eq!(parse(b"Jwt is missing"), (vec![], Some("Jwt is missing".to_owned())));
        assert_eq!(parse(b"{\"detail\":7}"), (vec![], Some("{\"detail\":7}".to_owned())));
        assert_eq!(parse(b""), (vec![], None));
        assert_eq!(parse(b"\xff\xfe").1.as_deref(), Some("\u{fffd}\u{fffd}"));
    }
}
