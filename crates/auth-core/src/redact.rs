//! Redaction of URLs and of texts from other programs.

use std::fmt;

use url::Url;

/// The replacement of a secret.
const MASKED: &str = "***";
/// The ends of names whose values are secret, in lower case without separators.
const NAMES: [&str; 12] = [
    "apikey",
    "assertion",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "signature",
    "token",
];
/// Authentication schemes (RFC 9110, section 11.1). The credential is the next word.
const SCHEMES: [&str; 3] = ["basic", "bearer", "dpop"];

/// Returns a URL without user, password, fragment and query, which may contain signatures and share tokens.
///
/// ```
/// let url = "https://user:pass@host.example/a/b?X-Amz-Signature=abc".parse().unwrap();
/// assert_eq!(auth_core::redacted(&url).to_string(), "https://host.example/a/b?***");
/// ```
pub fn redacted(url: &Url) -> impl fmt::Display + '_ {
    Redacted(url)
}

struct Redacted<'a>(&'a Url);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(url) = self;
        write!(formatter, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(formatter, ":{port}")?;
        }
        write!(formatter, "{}{}", url.path(), if url.query().is_some() { "?***" } else { "" })
    }
}

/// Returns a text without what is recognizably secret: users, passwords, queries and fragments of URLs, JWTs, and the
/// values of names such as `token`, `--password` or `client_secret`. Everything else is unchanged.
///
/// It is for texts of other programs, which may contain anything. It does not find a secret without a name.
///
/// ```
/// let text = auth_core::redacted_text("GET <https://host.example/a?sig=abc> with token=def failed");
/// assert_eq!(text, "GET <https://host.example/a?***> with token=*** failed");
/// ```
pub fn redacted_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let (mut rest, mut expected) = (text, Expected::Nothing);
    while !rest.is_empty() {
        let is_end = |character: char| is_delimiter(character);
        let (word, after) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
        let (delimiters, next) = after.split_at(after.find(|found| !is_end(found)).unwrap_or(after.len()));
        if !word.is_empty() {
            expected = write_word(&mut shown, word, expected, delimiters.starts_with('"'));
        }
        shown.push_str(delimiters);
        rest = next;
    }
    shown
}

/// The meaning of the next word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Nothing,
    /// A separator after the name of a secret.
    Separator,
    /// The value of a secret.
    Value,
}

fn is_delimiter(character: char) -> bool {
    character.is_whitespace() || character.is_control() || "\"`<>".contains(character)
}

/// Writes a word without its secret, and returns the meaning of the next one.
fn write_word(shown: &mut String, word: &str, expected: Expected, is_quoted: bool) -> Expected {
    let separators = [':', '='];
    let plain = word.trim_matches(|character| "'{[(,;)]}".contains(character));
    if expected == Expected::Value {
        // A separator, or a comma between the words of an array.
        if plain.trim_matches(separators).is_empty() {
            shown.push_str(word);
            return Expected::Value;
        }
        shown.push_str(&word.replacen(plain, MASKED, 1));
        return if SCHEMES.contains(&plain.to_ascii_lowercase().as_str()) {
            Expected::Value
        } else {
            Expected::Nothing
        };
    }
    if expected == Expected::Separator
        && let Some(value) = plain.strip_prefix(separators)
    {
        if value.trim_start_matches(separators).is_empty() {
            shown.push_str(word);
            return Expected::Value;
        }
        shown.push_str(&word.replacen(value, MASKED, 1));
        return Expected::Nothing;
    }
    if let Some(name) = plain.strip_suffix(separators).map(|name| name.trim_end_matches('\''))
        && is_secret_name(name)
    {
        shown.push_str(word);
        return Expected::Value;
    }
    if is_secret_name(plain) {
        shown.push_str(word);
        let takes_next = plain.starts_with('-') || SCHEMES[1..].contains(&plain.to_ascii_lowercase().as_str());
        return match is_quoted {
            _ if takes_next => Expected::Value,
            true => Expected::Separator,
            false => Expected::Nothing,
        };
    }
    shown.push_str(&masked_word(word));
    Expected::Nothing
}

/// Returns a word without the parts that are secret by their form.
fn masked_word(word: &str) -> String {
    if let Some((before, after)) = word.split_once("://") {
        return masked_url(before, after);
    }
    let is_path = word.starts_with(['/', '.']);
    // A query or a fragment.
    if let Some(at) = word.find(['?', '#'])
        && (word[at..].contains('=') || is_path && at + 1 < word.len())
    {
        let (path, query) = word.split_at(at);
        return if query.starts_with('?') { format!("{path}?{MASKED}") } else { path.to_owned() };
    }
    if let Some(at) = word.find(['=', ':'])
        && is_secret_name(word[..at].trim_start_matches(|character| "'{[(".contains(character)).trim_end_matches('\''))
        && at + 1 < word.len()
    {
        return format!("{}{MASKED}", &word[..=at]);
    }
    let is_jwt = |part: &str| part.starts_with("eyJ") && part.len() > 6;
    if word.split(['=', ':', ',', ';', '(', '[', '{', '\'']).any(is_jwt) {
        let at = word.find("eyJ").unwrap_or_default();
        return format!("{}{MASKED}", &word[..at]);
    }
    word.to_owned()
}

/// Returns a URL, given the parts before and after `://`. It need not be valid.
fn masked_url(before: &str, after: &str) -> String {
    let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let end = rest.find(['?', '#']);
    let path = &rest[..end.unwrap_or(rest.len())];
    // The path may contain another URL.
    let path = path.split_once("://").map_or_else(|| path.to_owned(), |(before, after)| masked_url(before, after));
    let query = if end.is_some_and(|end| rest[end..].starts_with('?')) { "?***" } else { "" };
    format!("{before}://{host}{path}{query}")
}

/// Returns true for a name like `token`, `ACCESS_TOKEN`, `--password` or `client-secret`.
fn is_secret_name(text: &str) -> bool {
    let is_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if text.is_empty() || !text.chars().all(is_name) {
        return false;
    }
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    NAMES.iter().any(|name| plain.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_texts_are_replaced() {
        for (text, expected) in [
            ("cannot open /etc/vault/config-2026.hcl: denied", "cannot open /etc/vault/config-2026.hcl: denied"),
            ("Authorization: Bearer canary", "Authorization: *** ***"),
            ("with Bearer canary", "with Bearer ***"),
            ("token: canary\nnext", "token: ***\nnext"),
            ("--password canary x", "--password *** x"),
            ("--password=canary", "--password=***"),
            ("the token is missing", "the token is missing"),
            ("a basic test", "a basic test"),
            ("-field=token secret/staging", "-field=token secret/staging"),
            ("[\"vault\",\"-field=token\",\"secret/a\"]", "[\"vault\",\"-field=token\",\"secret/a\"]"),
            ("[\"a\", \"--token\", \"canary\"]", "[\"a\", \"--token\", \"***\"]"),
            ("ACCESS_TOKEN=canary next", "ACCESS_TOKEN=*** next"),
            ("{\"password\":\"canary\",\"n\":1}", "{\"password\":\"***\",\"n\":1}"),
            ("{\"share_token\": \"canary", "{\"share_token\": \"***"),
            ("{\"secret\":12345}", "{\"secret\":***}"),
            ("{'secret': 'canary'}", "{'secret': '***'}"),
            ("got eyJcanary.a.b", "got ***"),
            ("x=eyJcanary", "x=***"),
            ("at https://u:canary@h.test:1/p?sig=canary#canary", "at https://h.test:1/p?***"),
            ("https://h.test/cb#canary", "https://h.test/cb"),
            ("HTTPS://u@h.test", "HTTPS://h.test"),
            ("<https://h.test/a?canary>; rel=\"next\"", "<https://h.test/a?***>; rel=\"next\""),
            ("</a?page=2&canary>; rel=next", "</a?***>; rel=next"),
            ("/a?canary", "/a?***"),
            ("redis://:canary@h.test/0", "redis://h.test/0"),
            ("https://h.test/https://u:canary@i.test/", "https://h.test/https://i.test/"),
            ("really? yes #1", "really? yes #1"),
            ("  two  spaces\t\r\n", "  two  spaces\t\r\n"),
            ("", ""),
        ] {
            assert_eq!(redacted_text(text), expected);
        }
    }

    #[test]
    fn redaction_of_any_text_does_not_panic() {
        for text in
            ["ü?=", "://", "a://?", "=", ":", "'':", "token:", "token", "\u{1b}[31m?", "eyJ", "\"token\"", "ü://ü@ü?ü"]
        {
            let shown = redacted_text(text);
            assert_eq!(redacted_text(&shown), shown, "{text}");
        }
    }
}
