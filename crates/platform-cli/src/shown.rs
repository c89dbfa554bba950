//! Text of others – names of files, messages of servers – as it may go to a terminal.

use std::fmt::{self, Display, Write};

/// Shows a text with its control characters escaped, so that it can neither move the cursor nor
/// pretend to be a line of ours.
pub(crate) fn shown(text: impl Display) -> String {
    let mut plain = Plain(String::new());
    // Writing into a `String` does not fail.
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
