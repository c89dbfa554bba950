//! The removal of a secret from a JSON document, before a parser copies the secret.

use std::ops::Range;

use auth_core::Secret;
use serde::de::IgnoredAny;
use zeroize::{Zeroize, Zeroizing};

/// Returns the string in a member of the outermost object, and overwrites it in the document with spaces. Returns
/// `None` if the document is not valid JSON, or if the member is not a string or has only white space.
pub(super) fn take(document: &mut [u8], member: &str) -> Option<Secret> {
    // This parser skips strings without copying them.
    if serde_json::from_slice::<IgnoredAny>(document).is_err() {
        blank_strings(document);
        return None;
    }
    let mut secret = None;
    // Of several members with the same name, the parser uses the last one.
    while let Some(range) = find_string(document, member) {
        secret = unescape(&document[range.clone()]);
        document[range.clone()].zeroize();
        document[range].fill(b' ');
    }
    let mut value = secret.filter(|value| !value.trim().is_empty())?;
    Some(Secret::new(std::mem::take(&mut *value)))
}

/// Overwrites all strings of an invalid document with `x`, so that a copy of the document has no secret string. The
/// position of the parser's error does not change.
fn blank_strings(document: &mut [u8]) {
    let (mut in_string, mut escaped) = (false, false);
    for byte in document {
        match *byte {
            b'"' if !escaped => in_string = !in_string,
            b'\\' if in_string => {
                escaped = !escaped;
                continue;
            }
            b'\n' => {}
            _ if in_string && !escaped => *byte = b'x',
            _ => {}
        }
        escaped = false;
    }
}

/// Returns the range of the string in a member, without its quotes. Skips strings that have been blanked.
fn find_string(document: &[u8], member: &str) -> Option<Range<usize>> {
    let (mut depth, mut position, mut key) = (0_usize, 0, None);
    while position < document.len() {
        match document[position] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 1 => key = None,
            b'"' => {
                let string = position + 1..end_of_string(document, position + 1)?;
                position = string.end;
                match &key {
                    None if depth == 1 => key = Some(string),
                    Some(name)
                        if depth == 1
                            && document[name.clone()] == *member.as_bytes()
                            && document[string.clone()].iter().any(|byte| *byte != b' ') =>
                    {
                        return Some(string);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        position += 1;
    }
    None
}

/// Returns the position of the quote that ends a string.
fn end_of_string(document: &[u8], start: usize) -> Option<usize> {
    let mut escaped = false;
    let is_end_quote = |byte: &u8| {
        let is_end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        is_end
    };
    document[start..].iter().position(is_end_quote).map(|length| start + length)
}

/// Returns a string without its escapes. Keys in PEM have escaped line ends and slashes.
fn unescape(text: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut output = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        output.push(match character {
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
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_key(document: &str) -> (Option<String>, String) {
        let mut bytes = document.as_bytes().to_vec();
        let secret = take(&mut bytes, "key").map(|secret| secret.expose().to_owned());
        (secret, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn secret_is_removed_from_the_document() {
        let (secret, rest) =
            take_key(r#"{"a": {"key": "not this"}, "b": ["key", "x"], "key" : "one\n\u0074w\/o\"", "c": "key"}"#);
        assert_eq!(secret.as_deref(), Some("one\ntw/o\""));
        assert!(!rest.contains("one") && rest.contains("not this"), "{rest}");
        let rest: serde_json::Value = serde_json::from_str(&rest).unwrap();
        assert_eq!((rest["key"].as_str().map(str::trim), rest["c"].as_str()), (Some(""), Some("key")));
    }

    #[test]
    fn last_of_several_members_is_taken_as_by_the_parser() {
        let (secret, rest) = take_key(r#"{"key": "first", "key": "second"}"#);
        assert_eq!(secret.as_deref(), Some("second"));
        assert!(!rest.contains("first") && !rest.contains("second"), "{rest}");
    }

    #[test]
    fn other_values_remain_and_invalid_documents_have_no_secret() {
        for document in [r#"{"key": ["x"]}"#, r#"{"key": " "}"#, r#"{"other": "x"}"#, "[1]", "\"key\""] {
            assert_eq!(take_key(document).0, None, "{document}");
        }
        let (secret, rest) = take_key("{\"key\": \"secret\\\"secret\\n\",\n \"b\": secret");
        assert_eq!(secret, None);
        assert!(!rest.split('\n').next().unwrap().contains("secret"), "{rest}");
    }
}
