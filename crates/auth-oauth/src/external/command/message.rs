//! Redaction of the output of a program for an error message.

use auth_core::redacted_text;

/// The maximum length of the message, in characters.
const MAX_CHARS: usize = 300;
/// The number of lines at the end of the output that the message contains.
const MAX_LINES: usize = 3;
/// The minimum length of a word that is treated as a secret because of its form, in characters.
const MIN_SECRET_CHARS: usize = 24;

/// Returns the last lines of a text, without control characters and without words that may be secret.
pub(super) fn redacted_message(text: &str) -> String {
    let text = redacted_text(text);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let lines = lines.iter().skip(lines.len().saturating_sub(MAX_LINES)).map(|line| redacted_line(line));
    lines.collect::<Vec<_>>().join(" / ").chars().take(MAX_CHARS).collect()
}

fn redacted_line(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let word: String = word.chars().filter(|character| !character.is_control()).collect();
        if may_be_secret(&word) { "***".to_owned() } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Returns true if a word has the length and the characters of a token. Paths, and words without digits, are not
/// treated as secrets.
fn may_be_secret(word: &str) -> bool {
    let word = word.trim_matches(['"', '\'', '`', ',', ';', '(', ')', '.', ':']);
    let is_path = word.starts_with(['/', '.', '~']);
    let is_token_character = |character: char| character.is_ascii_alphanumeric() || "-_.~+/=".contains(character);
    let has_digit = word.contains(|character: char| character.is_ascii_digit());
    word.len() >= MIN_SECRET_CHARS && !is_path && has_digit && word.chars().all(is_token_character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_may_be_secret_are_replaced() {
        for (text, expected) in [
            ("cannot open /etc/vault/config-2026.hcl: denied", "cannot open /etc/vault/config-2026.hcl: denied"),
            ("Authorization: Bearer canary", "Authorization: ***"),
            ("token:\n canary", "token: / ***"),
            ("at https://u:canary@h.test/p?sig=canary", "at https://h.test/p?***"),
            ("key 0123456789abcdefCANARY0123", "key ***"),
            ("red \u{1b}[31mtext", "red [31mtext"),
            ("1\n2\n\n3\n4\n", "2 / 3 / 4"),
        ] {
            assert_eq!(redacted_message(text), expected);
        }
        assert_eq!(redacted_message(&"x ".repeat(10_000)).chars().count(), MAX_CHARS);
    }
}
