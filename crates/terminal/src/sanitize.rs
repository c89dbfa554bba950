//! Sanitization of external text for terminals, such as file names and server messages.

use std::fmt::{self, Display, Write};
use std::io;

use icu_properties::props::{EnumeratedProperty, GeneralCategory};
use serde_json::Value;

/// Escapes the control and format characters of a text, so that the text cannot move the cursor, reorder the output, or
/// imitate the command's own output.
pub fn sanitize(text: impl Display) -> String {
    let mut sanitized = Sanitized(String::new());
    // Writing to a `String` cannot fail.
    let _ = write!(sanitized, "{text}");
    sanitized.0
}

/// Returns true if a terminal may interpret the character instead of showing it. That includes the C1 control
/// characters, and format characters such as U+202E, which reverses the text after it.
fn is_interpreted(character: char) -> bool {
    character.is_control() || !character.is_ascii() && GeneralCategory::for_char(character) == GeneralCategory::Format
}

struct Sanitized(String);

impl Write for Sanitized {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if is_interpreted(character) {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

/// A writer of JSON that escapes what a terminal may interpret. Apart from line breaks, JSON contains such
/// characters only in strings.
#[derive(Debug)]
pub struct EscapedJson<W>(pub W);

impl<W: io::Write> io::Write for EscapedJson<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_harmless = |character: char| character == '\n' || !is_interpreted(character);
        match std::str::from_utf8(bytes) {
            // The serializer writes whole characters.
            Ok(text) if !text.chars().all(is_harmless) => {
                for character in text.chars() {
                    if is_harmless(character) {
                        write!(self.0, "{character}")?;
                    } else {
                        for unit in character.encode_utf16(&mut [0; 2]) {
                            write!(self.0, "\\u{unit:04x}")?;
                        }
                    }
                }
            }
            _ => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Returns a value as one line of JSON without characters that a terminal may interpret.
pub fn escaped_json(value: &Value) -> String {
    let mut text = Vec::new();
    // Writing a JSON value to memory cannot fail.
    let _ = serde_json::to_writer(EscapedJson(&mut text), value);
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_a_terminal_interprets_are_escaped() {
        for (raw, expected) in [
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("a\u{9b}31m", "a\\u{9b}31m"),
            ("exe.\u{202e}gpj", "exe.\\u{202e}gpj"),
            ("\u{2066}\u{feff}\u{e0041}", "\\u{2066}\\u{feff}\\u{e0041}"),
            ("Müller – 組織 é", "Müller – 組織 é"),
        ] {
            assert_eq!(sanitize(raw), expected);
        }
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({ "a\u{202e}": ["\u{9b}31m", "\u{e0041}", "ä\n"] });
        let mut text = Vec::new();
        serde_json::to_writer_pretty(EscapedJson(&mut text), &value).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.chars().all(|character| character == '\n' || !is_interpreted(character)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert_eq!(escaped_json(&serde_json::json!(["\u{9b}\n"])), "[\"\\u009b\\n\"]");
    }
}
