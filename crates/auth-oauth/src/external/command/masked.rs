//! The text of a program for an error message.

/// The maximum length of the text, in characters.
const LONGEST: usize = 300;
/// The number of lines at the end that are shown.
const LINES: usize = 3;
/// The minimum length of a word that may be a secret.
const SECRET: usize = 24;
/// Names whose values are secret.
const NAMES: [&str; 9] =
    ["token", "secret", "password", "passwd", "assertion", "authorization", "bearer", "apikey", "credential"];

/// Returns the last lines of a text without control characters, and without words that may be secret.
pub(super) fn masked(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let lines = lines.iter().skip(lines.len().saturating_sub(LINES)).map(|line| masked_line(line));
    lines.collect::<Vec<_>>().join(" / ").chars().take(LONGEST).collect()
}

fn masked_line(line: &str) -> String {
    let mut is_value = false;
    let words = line.split_whitespace().map(|word| {
        let word: String = word.chars().filter(|character| !character.is_control()).collect();
        let shown = if is_value { "***".to_owned() } else { masked_word(&word) };
        // The next word is the value of `token:`, `--password` or `Bearer`. In a sentence, `token` has no value.
        let name = word.trim_end_matches([':', '=']).trim_start_matches('-');
        is_value = is_name(name) && (name.len() < word.len() || name.eq_ignore_ascii_case("bearer"));
        shown
    });
    words.collect::<Vec<_>>().join(" ")
}

fn masked_word(word: &str) -> String {
    if let Some((name, value)) = word.split_once(['=', ':'])
        && is_name(name.trim_start_matches(['-', '"', '\'', '{']))
        && !value.is_empty()
    {
        return format!("{name}=***");
    }
    if let Some((scheme, rest)) = word.split_once("://") {
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        return format!("{scheme}://{host}{path}");
    }
    if may_be_secret(word) { "***".to_owned() } else { word.to_owned() }
}

/// Returns true for a name like `token`, `ACCESS_TOKEN` or `client-secret`.
fn is_name(text: &str) -> bool {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    NAMES.iter().any(|name| plain.ends_with(name))
}

/// Returns true for a word of the length and the characters of a token. Paths and words are not.
fn may_be_secret(word: &str) -> bool {
    let word = word.trim_matches(['"', '\'', '`', ',', ';', '(', ')', '.', ':']);
    let is_path = word.starts_with(['/', '.', '~']);
    let is_token = |character: char| character.is_ascii_alphanumeric() || "-_.~+/=".contains(character);
    let has_digit = word.contains(|character: char| character.is_ascii_digit());
    word.starts_with("eyJ") || (word.len() >= SECRET && !is_path && has_digit && word.chars().all(is_token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced() {
        for (text, expected) in [
            ("cannot open /etc/vault/config-2026.hcl: denied", "cannot open /etc/vault/config-2026.hcl: denied"),
            ("Authorization: Bearer canary", "Authorization: *** ***"),
            ("token: canary", "token: ***"),
            ("--password canary", "--password ***"),
            ("the token is missing", "the token is missing"),
            ("ACCESS_TOKEN=canary next", "ACCESS_TOKEN=*** next"),
            ("{\"password\":\"canary\"}", "{\"password\"=***"),
            ("got eyJcanary", "got ***"),
            ("at https://u:canary@h.test/p?sig=canary", "at https://h.test/p"),
            ("key 0123456789abcdefCANARY0123", "key ***"),
            ("red \u{1b}[31mtext", "red [31mtext"),
            ("1\n2\n\n3\n4\n", "2 / 3 / 4"),
        ] {
            assert_eq!(masked(text), expected);
        }
        assert_eq!(masked(&"x ".repeat(10_000)).chars().count(), LONGEST);
    }
}
