//! Redaction of URLs and of texts from other programs.

use std::fmt;

use url::Url;

/// The text that replaces a secret.
const MASK: &str = "***";
/// The endings of names whose values are secret, in lower case without separators.
const SECRET_NAME_ENDINGS: [&str; 12] = [
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
/// The endings of names whose value is the rest of the line: a scheme and its parameters, or several cookies.
const WHOLE_LINE_ENDINGS: [&str; 2] = ["authorization", "cookie"];
/// Authentication schemes (RFC 9110, section 11.1) that are recognized without a header name. The next word is the
/// credential. Other schemes, such as `Basic`, are not in the list, because they are also common words.
const SCHEMES: [&str; 2] = ["bearer", "dpop"];

/// Formats a URL without its user, password, query and fragment. A query may contain a signature or a share token.
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

/// Returns a text in which recognizable secrets are removed or replaced by `***`: users, passwords, queries and
/// fragments of URLs, JWTs, and the values of [secret names](is_secret_name). All other text is unchanged.
///
/// Use it before displaying the output of another program. A secret that has neither a name nor a recognizable form is
/// not redacted.
///
/// ```
/// let text = auth_core::redacted_text("GET <https://host.example/a?sig=abc> with token=def failed");
/// assert_eq!(text, "GET <https://host.example/a?***> with token=*** failed");
/// ```
pub fn redacted_text(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(is_delimiter).unwrap_or(rest.len()));
        rest = if let Some((name, separator_end)) = secret_name(word, after) {
            let (before, value) = rest.split_at(separator_end);
            redacted.push_str(before);
            let (opening, value) = value.split_at(start_of_value(value));
            redacted.push_str(opening);
            let line = text[..text.len() - rest.len()].rsplit(['\n', '\r']).next().unwrap_or_default();
            let end = end_of_value(name, opening, value, line.matches('"').count() % 2 == 1);
            redacted.push_str(if end == 0 { "" } else { MASK });
            &value[end..]
        } else {
            redacted.push_str(&redacted_word(word));
            let (delimiters, next) = after.split_at(after.find(|next| !is_delimiter(next)).unwrap_or(after.len()));
            redacted.push_str(delimiters);
            next
        };
    }
    redacted
}

fn is_delimiter(character: char) -> bool {
    character.is_whitespace() || character.is_control() || "\"`<>\\".contains(character)
}

/// Returns the secret name at the start of a word, and the offset of the text after the separator between the name and
/// its value. `after` is the text after the word. The offset counts from the start of the word, and may be in `after`.
fn secret_name<'a>(word: &'a str, after: &str) -> Option<(&'a str, usize)> {
    let name_end = word.find(['=', ':']).unwrap_or(word.len());
    let name = word[..name_end].trim_matches(|character| "'{[(,;)]}".contains(character));
    if word.contains("://") || !is_secret_name(name) {
        return None;
    }
    if name_end < word.len() {
        return Some((name, name_end + 1));
    }
    // The separator may follow quotes and blanks.
    let is_quote_or_blank = |character: char| matches!(character, '"' | '\\' | '\'' | ' ' | '\t');
    let separator_start = after.find(|character| !is_quote_or_blank(character)).unwrap_or(after.len());
    if after[separator_start..].starts_with(['=', ':']) {
        return Some((name, word.len() + separator_start + 1));
    }
    // An option such as `--password`, or a scheme, needs no separator before its value.
    let needs_no_separator = name.starts_with('-') || SCHEMES.contains(&name.to_ascii_lowercase().as_str());
    let closing_quote = after.find(|character| !matches!(character, '"' | '\\')).unwrap_or(after.len());
    needs_no_separator.then_some((name, word.len() + closing_quote))
}

/// Returns the offset of a value in the text after its separator. Blanks, brackets, further separators and one quote
/// may precede the value.
fn start_of_value(text: &str) -> usize {
    let start = text.find(|character| !" \t\r\n\\=:>[{(,".contains(character)).unwrap_or(text.len());
    start + usize::from(text[start..].starts_with(['"', '\'']))
}

/// Returns the length of a value, which ends at its closing quote, or at the end of its word or line. `opening` is the
/// text between the separator and the value. If `is_quoted` is true, the name is inside a quoted text, and the value
/// does not extend beyond that text.
fn end_of_value(name: &str, opening: &str, value: &str, is_quoted: bool) -> usize {
    if let Some(quote) = opening.chars().last().filter(|last| matches!(last, '"' | '\'')) {
        // If the opening quote is escaped, the closing quote is escaped, too. Otherwise, an escaped quote belongs to
        // the value.
        let is_escaped = opening.contains('\\');
        let mut quotes = value.match_indices(quote).map(|(index, _)| index);
        let end = quotes.find(|index| is_escaped || !value[..*index].ends_with('\\')).unwrap_or(value.len());
        return value[..end].trim_end_matches(|last| is_escaped && last == '\\').len();
    }
    let extends_to_line_end =
        normalized_name(name).is_some_and(|name| WHOLE_LINE_ENDINGS.iter().any(|ending| name.ends_with(ending)));
    if extends_to_line_end {
        let is_end = |character| matches!(character, '\n' | '\r') || is_quoted && character == '"';
        return value.find(is_end).unwrap_or(value.len());
    }
    let is_end = |character| character != '\\' && is_delimiter(character);
    let end = value.find(is_end).unwrap_or(value.len());
    // Brackets and separators at the end do not belong to the value, unless it consists only of them.
    match value[..end].trim_end_matches([',', ';', ')', ']', '}', '\\']).len() {
        0 => end,
        trimmed => trimmed,
    }
}

/// Returns a word without the parts that are recognizable as secrets: the credentials and query of a URL, and JWTs.
fn redacted_word(word: &str) -> String {
    if let Some((before, after)) = word.split_once("://") {
        return redacted_url(before, after);
    }
    let is_path = word.starts_with(['/', '.']);
    if let Some(path_end) = word.find(['?', '#'])
        && (word[path_end..].contains('=') || is_path && path_end + 1 < word.len())
    {
        let (path, query_or_fragment) = word.split_at(path_end);
        return if query_or_fragment.starts_with('?') { format!("{path}?{MASK}") } else { path.to_owned() };
    }
    let is_jwt = |part: &str| part.starts_with("eyJ") && part.len() > 6;
    if word.split(['=', ':', ',', ';', '(', '[', '{', '\'', '/']).any(is_jwt) {
        let start = word.find("eyJ").unwrap_or_default();
        return format!("{}{MASK}", &word[..start]);
    }
    word.to_owned()
}

/// Returns a URL without its credentials, query and fragment. `before` and `after` are the parts before and after
/// `://`. The URL may be invalid.
fn redacted_url(before: &str, after: &str) -> String {
    // The last `@` before the query ends the password, because a password may contain a slash that is not encoded.
    let query_start = after.find(['?', '#']).unwrap_or(after.len());
    let start = after[..query_start].rfind('@').filter(|_| !after[..query_start].contains("://"));
    let start = start.map_or(0, |index| index + 1);
    let (host, rest) = after[start..].split_at(after[start..].find(['/', '?', '#']).unwrap_or(after.len() - start));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let end = rest.find(['?', '#']);
    let path = &rest[..end.unwrap_or(rest.len())];
    // The path may contain another URL.
    let path = path.split_once("://").map_or_else(|| path.to_owned(), |(before, after)| redacted_url(before, after));
    let query = if end.is_some_and(|end| rest[end..].starts_with('?')) { "?***" } else { "" };
    format!("{before}://{host}{path}{query}")
}

/// Returns true if a name ends with a word for a secret, ignoring case and separators: `token`, `ACCESS_TOKEN`,
/// `--password`, `client-secret`, `refreshToken`.
///
/// ```
/// assert!(auth_core::is_secret_name("refreshToken") && !auth_core::is_secret_name("token_url"));
/// ```
pub fn is_secret_name(text: &str) -> bool {
    normalized_name(text).is_some_and(|name| SECRET_NAME_ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

/// Returns the letters and digits of a name in lower case. Returns `None` if the text is empty or contains characters
/// that names do not contain.
fn normalized_name(text: &str) -> Option<String> {
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
            ("password=p,canary;canary x", "password=*** x"),
            ("--password a;canary, x", "--password ***, x"),
            ("password=dom\\canary", "password=***"),
            ("token=)canary", "token=***"),
            ("Cookie: a=\"x\"; b=canary\nnext", "Cookie: ***\nnext"),
            ("Authorization: Digest username=\"u\", response=\"canary\"", "Authorization: ***"),
            ("-H \"Authorization: Bearer canary\" x", "-H \"Authorization: ***\" x"),
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
    fn redacting_a_text_twice_changes_nothing() {
        for text in
            ["ü?=", "://", "a://?", "=", ":", "'':", "token:", "token", "\u{1b}[31m?", "eyJ", "\"token\"", "ü://ü@ü?ü"]
        {
            let redacted = redacted_text(text);
            assert_eq!(redacted_text(&redacted), redacted, "{text}");
        }
    }
}
