//! The format of settings files: `NAME=VALUE` in each line, as `dotenvy` reads it. In addition, a byte order mark at the
//! start is ignored, and a value without quotation marks may contain apostrophes and spaces.

use std::borrow::Cow;

/// The position of a line that is not `NAME=VALUE`. It does not show the line, which may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} of it is not NAME=VALUE")]
pub(super) struct LineError(usize);

/// Returns the text without a byte order mark.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Returns the variables of a file, in the order of its lines. An error takes the place of a line that is not
/// `NAME=VALUE`.
pub(super) fn entries(text: &str) -> Vec<Result<(String, String), LineError>> {
    let (mut normalized, mut numbers) = (String::new(), Vec::new());
    let mut lines = without_mark(text).lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let value = value(line);
        if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            numbers.push(number + 1);
        }
        normalized += &value.map_or(Cow::Borrowed(line), |value| with_quotes(line, value));
        normalized.push('\n');
        // A quoted value may have several lines.
        let mut open = value.and_then(unclosed);
        while let Some(quote) = open
            && let Some((_, line)) = lines.next()
        {
            normalized += line;
            normalized.push('\n');
            open = end(line, quote).is_none().then_some(quote);
        }
    }
    let entries = dotenvy::Iter::new(normalized.as_bytes()).enumerate();
    let number = |index: usize| LineError(numbers.get(index).or(numbers.last()).copied().unwrap_or(1));
    entries.map(|(index, entry)| entry.map_err(|_| number(index))).collect()
}

/// Returns the variables of a file, in the order of its lines.
pub(super) fn parse<C: FromIterator<(String, String)>>(text: &str) -> Result<C, LineError> {
    entries(text).into_iter().collect()
}

/// Returns the part of an assignment after `=` and spaces.
fn value(line: &str) -> Option<&str> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let name = name.strip_prefix("export ").map_or(name, str::trim_start);
    let is_name =
        !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || "_.".contains(character));
    is_name.then(|| value.trim_start())
}

/// Returns the quotation mark of a value that does not end in its line.
fn unclosed(value: &str) -> Option<char> {
    let quote = value.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    end(&value[1..], quote).is_none().then_some(quote)
}

/// Returns the position of the quotation mark that ends a value.
fn end(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, character)| {
        let is_end = character == quote && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end.then_some(at)
    })
}

/// Adds quotation marks to a value with apostrophes or spaces, and removes its comment.
fn with_quotes<'a>(line: &'a str, value: &str) -> Cow<'a, str> {
    let plain = value.find(" #").map_or(value, |comment| &value[..comment]).trim_end();
    let needs_quotes = plain.contains(['\'', ' ', '\t']) && !plain.starts_with(['\'', '"', '#']);
    if !needs_quotes {
        return line.into();
    }
    let assigned = &line[..line.len() - value.len()];
    format!("{assigned}\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\"")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_editors_and_other_tools_are_read() {
        for (text, expected) in [
            ("\u{feff}A=1\nB = 2\n", &[("A", "1"), ("B", "2")][..]),
            ("A=it's here # a comment\r\nexport B=2\r\n", &[("A", "it's here"), ("B", "2")]),
            (
                "A=a b\nB='x # y'\nC=\"1\n2'\"\nD=don't\n",
                &[("A", "a b"), ("B", "x # y"), ("C", "1\n2'"), ("D", "don't")],
            ),
            ("# it's a comment\n\nA=\nB=\"it's \\\"quoted\\\"\" # x\n", &[("A", ""), ("B", "it's \"quoted\"")]),
            ("A=x\nB=$A y\nC=d:\\it's\n", &[("A", "x"), ("B", "x y"), ("C", "d:\\it's")]),
        ] {
            let entries: Vec<(String, String)> = parse(text).unwrap();
            let found: Vec<_> = entries.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn line_that_cannot_be_read_is_numbered() {
        for (text, number) in [
            ("A=1\n\n# x\nnot a variable\nB=2\n", 4),
            ("A='1\n2'\nB C=2\n", 3),
            ("A=1\nB='open\nC=2\n", 2),
            ("=x\n", 1),
        ] {
            assert_eq!(parse::<Vec<_>>(text), Err(LineError(number)), "{text:?}");
        }
        let entries = entries("A=1\nnot a variable\nB=2\n");
        assert_eq!(entries.iter().filter(|entry| entry.is_ok()).count(), 2, "{entries:?}");
    }
}
