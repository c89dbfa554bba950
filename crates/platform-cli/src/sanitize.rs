//! Sanitization of external text for terminals, such as file names and server messages.

use std::fmt::{self, Display, Write};

/// Escapes the control characters of a text, so that it can neither move the cursor nor imitate the command's own
/// output.
pub(crate) fn sanitize(text: impl Display) -> String {
    let mut plain = Plain(String::new());
    // Writing to a `String` cannot fail.
    let _ = write!(plain, "{text}");
    plain.0
}

struct Plain(String);

impl Write for Plain {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if character.is_control() {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}
