//! A secret in a JSON document, which is taken out before a parser copies it.

use std::ops::Range;

use auth_core::Secret;
use serde::de::IgnoredAny;
use zeroize::{Zeroize, Zeroizing};

/// Returns the text of a member of the outermost object, and overwrites it in the document with spaces. Returns `None` if
/// the document is not valid JSON, or if the member is not a text or has only white space.
pub(super) fn take_out(document: &mut [u8], member: &str) -> Option<Secret> {
    // This parser skips texts without a copy.
    if serde_json::from_slice::<IgnoredAny>(document).is_err() {
        blank_texts(document);
        return None;
    }
    let mut found = None;
    // Of several members with the same name, the parser uses the last one.
    while let Some(range) = find(document, member) {
        found = unescaped(&document[range.clone()]);
        document[range.clone()].zeroize();
        document[range].fill(b' ');
    }
    let mut text = found.filter(|text| !text.trim().is_empty())?;
    Some(Secret::new(std::mem::take(&mut *text)))
}

/// Overwrites all texts of an invalid document with `x`, so that the error has the same position and no copy has a secret.
fn blank_texts(document: &mut [u8]) {
    let (mut in_text, mut escaped) = (false, false);
    for byte in document {
        match *byte {
            b'"' if !escaped => in_text = !in_text,
            b'\\' if in_text => {
                escaped = !escaped;
                continue;
            }
            b'\n' => {}
            _ if in_text && !escaped => *byte = b'x',
            _ => {}
        }
        escaped = false;
    }
}

/// Returns the place of the text, without its quotes, unless it has been blanked.
fn find(document: &[u8], member: &str) -> Option<Range<usize>> {
    let (mut depth, mut at, mut key) = (0_usize, 0, None);
    while at < document.len() {
        match document[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 1 => key = None,
            b'"' => {
                let text = at + 1..end_of_text(document, at + 1)?;
                at = text.end;
                match &key {
                    None if depth == 1 => key = Some(text),
                    Some(name)
                        if depth == 1
                            && document[name.clone()] == *member.as_bytes()
                            && document[text.clone()].iter().any(|byte| *byte != b' ') =>
                    {
                        return Some(text);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns the place of the quote that ends a text.
fn end_of_text(document: &[u8], start: usize) -> Option<usize> {
    let mut escaped = false;
    let ends = |byte: &u8| {
        let is_end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    };
    document[start..].iter().position(ends).map(|length| start + length)
}

/// Returns a text without its escapes. Those of keys in PEM are line ends and slashes.
fn unescaped(text: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits =
                        characters.by_ref().take(4).try_fold(0, |code, digit| Some(code * 16 + digit.to_digit(16)?));
                    char::from_u32(digits?)?
                }
                other @ ('"' | '\\' | '/') => other,
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(document: &str) -> (Option<String>, String) {
        let mut bytes = document.as_bytes().to_vec();
        let secret = take_out(&mut bytes, "key").map(|secret| secret.expose().to_owned());
        (secret, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn secret_is_removed_from_the_document() {
        let (secret, rest) =
            taken(r#"{"a": {"key": "not this"}, "b": ["key", "x"], "key" : "one\n\u0074w\/o\"", "c": "key"}"#);
        assert_eq!(secret.as_deref(), Some("one\ntw/o\""));
        assert!(!rest.contains("one") && rest.contains("not this"), "{rest}");
        let rest: serde_json::Value = serde_json::from_str(&rest).unwrap();
        assert_eq!((rest["key"].as_str().map(str::trim), rest["c"].as_str()), (Some(""), Some("key")));
    }

    #[test]
    fn last_of_several_members_counts_as_for_the_parser() {
        let (secret, rest) = taken(r#"{"key": "first", "key": "second"}"#);
        assert_eq!(secret.as_deref(), Some("second"));
        assert!(!rest.contains("first") && !rest.contains("second"), "{rest}");
    }

    #[test]
    fn other_values_are_left_and_broken_documents_have_no_secret() {
        for document in [r#"{"key": ["x"]}"#, r#"{"key": " "}"#, r#"{"other": "x"}"#, "[1]", "\"key\""] {
            assert_eq!(taken(document).0, None, "{document}");
        }
        let (secret, rest) = taken("{\"key\": \"secret\\\"secret\\n\",\n \"b\": secret");
        assert_eq!(secret, None);
        assert!(!rest.split('\n').next().unwrap().contains("secret"), "{rest}");
    }
}
