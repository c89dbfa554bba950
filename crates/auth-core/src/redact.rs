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
/// Names whose value is the rest of the line: a scheme and its parameters, or several cookies.
const LINES: [&str; 2] = ["authorization", "cookie"];
/// Authentication schemes (RFC 9110, section 11.1) that other texts do not contain. The credential is the next word.
const SCHEMES: [&str; 2] = ["bearer", "dpop"];

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
/// values of [secret names](is_secret_name). Everything else is unchanged.
///
/// It is for texts of other programs, which may contain anything. It does not find a secret without a name.
///
/// ```
/// let text = auth_core::redacted_text("GET <https://host.example/a?sig=abc> with token=def failed");
/// assert_eq!(text, "GET <https://host.example/a?***> with token=*** failed");
/// ```
pub fn redacted_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(is_delimiter).unwrap_or(rest.len()));
        rest = if let Some((name, separator)) = named(word, after) {
            let (before, value) = rest.split_at(separator);
            shown.push_str(before);
            let (opening, value) = value.split_at(start_of_value(value));
            shown.push_str(opening);
            let end = end_of_value(name, opening, value);
            shown.push_str(if end == 0 { "" } else { MASKED });
            &value[end..]
        } else {
            shown.push_str(&masked_word(word));
            let (delimiters, next) = after.split_at(after.find(|found| !is_delimiter(found)).unwrap_or(after.len()));
            shown.push_str(delimiters);
            next
        };
    }
    shown
}

fn is_delimiter(character: char) -> bool {
    character.is_whitespace() || character.is_control() || "\"`<>\\".contains(character)
}

/// Returns the secret name at the end of the first part of a word, and the position after its separator in the text
/// that begins with the word. `after` is the text after the word.
fn named<'a>(word: &'a str, after: &str) -> Option<(&'a str, usize)> {
    let at = word.find(['=', ':']).unwrap_or(word.len());
    let name = word[..at].trim_matches(|character| "'{[(,;)]}".contains(character));
    if word.contains("://") || !is_secret_name(name) {
        return None;
    }
    if at < word.len() {
        return Some((name, at + 1));
    }
    // The separator is the next word, after quotes and blanks.
    let gap = after.find(|character| !matches!(character, '"' | '\\' | '\'' | ' ' | '\t')).unwrap_or(after.len());
    if after[gap..].starts_with(['=', ':']) {
        return Some((name, word.len() + gap + 1));
    }
    let takes_next = name.starts_with('-') || SCHEMES.contains(&name.to_ascii_lowercase().as_str());
    // The closing quote of the name.
    let quote = after.find(|character| !matches!(character, '"' | '\\')).unwrap_or(after.len());
    takes_next.then_some((name, word.len() + quote))
}

/// Returns the position of a value after its separator: after blanks, brackets, further separators, and one quote.
fn start_of_value(text: &str) -> usize {
    let at = text.find(|character| !" \t\r\n\\=:>[{(,".contains(character)).unwrap_or(text.len());
    at + usize::from(text[at..].starts_with(['"', '\'']))
}

/// Returns the end of a value: its closing quote, or the end of its word or line.
fn end_of_value(name: &str, opening: &str, value: &str) -> usize {
    if let Some(quote) = opening.chars().last().filter(|last| matches!(last, '"' | '\'')) {
        // In an escaped text, the closing quote is escaped, too. Otherwise, an escaped quote belongs to the value.
        let is_escaped = opening.contains('\\');
        let mut ends = value.match_indices(quote).map(|(at, _)| at);
        let end = ends.find(|at| is_escaped || !value[..*at].ends_with('\\')).unwrap_or(value.len());
        return value[..end].trim_end_matches(|last| is_escaped && last == '\\').len();
    }
    let is_line = plain(name).is_some_and(|name| LINES.iter().any(|line| name.ends_with(line)));
    let is_end = |character: char| {
        if is_line {
            matches!(character, '\n' | '\r' | '"')
        } else {
            is_delimiter(character) || ",;)]}".contains(character)
        }
    };
    value.find(is_end).unwrap_or(value.len())
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
    let is_jwt = |part: &str| part.starts_with("eyJ") && part.len() > 6;
    if word.split(['=', ':', ',', ';', '(', '[', '{', '\'', '/']).any(is_jwt) {
        let at = word.find("eyJ").unwrap_or_default();
        return format!("{}{MASKED}", &word[..at]);
    }
    word.to_owned()
}

/// Returns a URL, given the parts before and after `://`. It need not be valid.
fn masked_url(before: &str, after: &str) -> String {
    // A password may contain a slash, although it should not.
    let start = after.find(['?', '#']).unwrap_or(after.len());
    let start = after[..start].rfind('@').filter(|_| !after[..start].contains("://")).map_or(0, |at| at + 1);
    let (host, rest) = after[start..].split_at(after[start..].find(['/', '?', '#']).unwrap_or(after.len() - start));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let end = rest.find(['?', '#']);
    let path = &rest[..end.unwrap_or(rest.len())];
    // The path may contain another URL.
    let path = path.split_once("://").map_or_else(|| path.to_owned(), |(before, after)| masked_url(before, after));
    let query = if end.is_some_and(|end| rest[end..].starts_with('?')) { "?***" } else { "" };
    format!("{before}://{host}{path}{query}")
}

/// Returns true for a name that ends like those of secrets: `token`, `ACCESS_TOKEN`, `--password`, `client-secret`,
/// `refreshToken`.
///
/// ```
/// assert!(auth_core::is_secret_name("refreshToken") && !auth_core::is_secret_name("token_url"));
/// ```
pub fn is_secret_name(text: &str) -> bool {
    plain(text).is_some_and(|plain| NAMES.iter().any(|name| plain.ends_with(name)))
}

/// Returns the letters and digits of a name in lower case, or `None` if the text is not a name.
fn plain(text: &str) -> Option<String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let letters = || text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    (!text.is_empty() && text.chars().all(is_name)).then(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_texts_are_replaced() {
        for (text, expected) in [
            ("cannot open /etc/vault/config-2026.hcl: denied", "cannot open /etc/vault/config-2026.hcl: denied"),
            ("Authorization: Bearer canary", "Authorization: ***"),
            ("Cookie: a=canary; b=canary\nnext", "Cookie: ***\nnext"),
            ("password = canary x", "password = *** x"),
            ("client_secret = \"canary canary\" x", "client_secret = \"***\" x"),
            ("token = 'canary'", "token = '***'"),
            ("{\"password\": \"canary canary\", \"n\": 1}", "{\"password\": \"***\", \"n\": 1}"),
            ("--password='canary canary' x", "--password='***' x"),
            ("{\\\"token\\\":\\\"canary\\\"}", "{\\\"token\\\":\\\"***\\\"}"),
            ("token=canary?x=y", "token=***"),
            ("Authorization: Token canary", "Authorization: ***"),
            ("/a/eyJcanary.b.c", "/a/***"),
            ("https://u:ca/nary@h.test/a", "https://h.test/a"),
            ("{\"token\":\"a\\\"canary\"}", "{\"token\":\"***\"}"),
            ("{\"token\":\"\",\"n\":1}", "{\"token\":\"\",\"n\":1}"),
            ("with Bearer canary", "with Bearer ***"),
            ("token: canary\nnext", "token: ***\nnext"),
            ("token:\n canary next", "token:\n *** next"),
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
