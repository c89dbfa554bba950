//! The format of settings files: lines `NAME=VALUE` as `dotenvy` reads them. In addition, a byte order mark at the
//! start is ignored, and a value without quotation marks may contain apostrophes and spaces.

use std::borrow::Cow;

/// The replacement of a line that is not `NAME=VALUE`. Quotation marks in the original line would affect the following
/// lines.
const INVALID_LINE: &str = "?";

/// The error of a line that is not `NAME=VALUE`. It contains only the number of the line, because the line may be
/// secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is not NAME=VALUE, or its quotation mark is not closed")]
pub(super) struct LineError(usize);

/// Returns the text without a byte order mark.
pub(super) fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Returns the variables of a file, in the order of its lines, with an error for each line that is not `NAME=VALUE`.
pub(super) fn entries(text: &str) -> Vec<Result<(String, String), LineError>> {
    let (mut normalized, mut line_numbers) = (String::new(), Vec::new());
    let mut lines = without_byte_order_mark(text).lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let is_ignored = line.trim().is_empty() || line.trim_start().starts_with('#');
        if !is_ignored {
            line_numbers.push(number + 1);
            normalized += &assigned_value(line).map_or(INVALID_LINE.into(), |value| normalize_assignment(line, value));
        }
        normalized.push('\n');
        // A quoted value may have several lines.
        let mut open_quote = assigned_value(line).filter(|_| !is_ignored).and_then(unclosed_quote);
        while let Some(quote) = open_quote
            && let Some((_, line)) = lines.next()
        {
            normalized += line;
            normalized.push('\n');
            open_quote = closing_quote(line, quote).is_none().then_some(quote);
        }
    }
    let entries = dotenvy::Iter::new(normalized.as_bytes()).enumerate();
    let line_error = |index: usize| LineError(line_numbers.get(index).or(line_numbers.last()).copied().unwrap_or(1));
    entries.map(|(index, entry)| entry.map_err(|_| line_error(index))).collect()
}

/// Returns the variables of a file, in the order of its lines, or the first error.
pub(super) fn parse<C: FromIterator<(String, String)>>(text: &str) -> Result<C, LineError> {
    entries(text).into_iter().collect()
}

/// Returns the part of a line after `=` and white space, or `None` if the line is not an assignment.
fn assigned_value(line: &str) -> Option<&str> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let name_after_export = name.strip_prefix("export").filter(|name| name.starts_with([' ', '\t']));
    let name = name_after_export.map_or(name, str::trim_start);
    let is_name =
        !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || "_.".contains(character));
    is_name.then(|| value.trim_start())
}

/// Returns the opening quotation mark of a value, if it is not closed in the same line.
fn unclosed_quote(value: &str) -> Option<char> {
    let quote = value.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    closing_quote(&value[1..], quote).is_none().then_some(quote)
}

/// Returns the position of the closing quotation mark of a value.
fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(position, character)| {
        let is_end = character == quote && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end.then_some(position)
    })
}

/// Returns an assignment without its comment. A value without quotation marks gets quotation marks if it contains
/// apostrophes or white space.
fn normalize_assignment<'a>(line: &'a str, value: &'a str) -> Cow<'a, str> {
    let prefix = &line[..line.len() - value.len()];
    if let Some(quote) = value.chars().next().filter(|first| matches!(first, '\'' | '"')) {
        let quoted_len = closing_quote(&value[1..], quote).map_or(value.len(), |end| end + 2);
        let is_comment = value[quoted_len..].trim_start().starts_with('#');
        return line[..prefix.len() + if is_comment { quoted_len } else { value.len() }].into();
    }
    let comment_start = [" #", "\t#"].iter().filter_map(|start| value.find(start)).min().unwrap_or(value.len());
    let unquoted = if value.starts_with('#') { "" } else { value[..comment_start].trim_end() };
    let line = &line[..prefix.len() + unquoted.len()];
    let is_parsable = || dotenvy::Iter::new(line.as_bytes()).all(|entry| entry.is_ok());
    if !unquoted.contains(['\'', ' ', '\t']) || unquoted.contains(['\\', '"']) && is_parsable() {
        return line.into();
    }
    let escaped = unquoted.replace('\\', "\\\\").replace("\\\\$", "\\$").replace('"', "\\\"");
    format!("{prefix}\"{escaped}\"").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_editors_and_other_tools_are_parsed() {
        for (text, expected) in [
            ("\u{feff}A=1\nB = 2\n", &[("A", "1"), ("B", "2")][..]),
            ("A=it's here # a comment\r\nexport B=2\r\n", &[("A", "it's here"), ("B", "2")]),
            (
                "A=a b\nB='x # y'\nC=\"1\n2'\"\nD=don't\n",
                &[("A", "a b"), ("B", "x # y"), ("C", "1\n2'"), ("D", "don't")],
            ),
            ("# it's a comment\n\nA=\nB=\"it's \\\"quoted\\\"\" # x\n", &[("A", ""), ("B", "it's \"quoted\"")]),
            (
                "A=7\t# seconds\nB=x  # it's old\nC=\"x\"  # don't\nD=  # it's\n",
                &[("A", "7"), ("B", "x"), ("C", "x"), ("D", "")],
            ),
            ("A=a\\ b\nB=x\"b c\"\nexport\tC=it's\n", &[("A", "a b"), ("B", "xb c"), ("C", "it's")]),
            ("A=cost is \\$5\n", &[("A", "cost is $5")]),
            ("A=x\nB=$A y\nC=d:\\it's\n", &[("A", "x"), ("B", "x y"), ("C", "d:\\it's")]),
        ] {
            let entries: Vec<(String, String)> = parse(text).unwrap();
            let variables: Vec<_> = entries.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(variables, expected, "{text:?}");
        }
    }

    #[test]
    fn error_contains_the_number_of_the_invalid_line() {
        for (text, number) in [
            ("A=1\n\n# x\nnot a variable\nB=2\n", 4),
            ("A='1\n2'\nB C=2\n", 3),
            ("A=1\nB='open\nC=2\n", 2),
            ("=x\n", 1),
            ("A=1\ndon't\nB=it's\n", 2),
        ] {
            assert_eq!(parse::<Vec<_>>(text), Err(LineError(number)), "{text:?}");
        }
        let entries = entries("A=1\nnot a variable\nB=2\n");
        assert_eq!(entries.iter().filter(|entry| entry.is_ok()).count(), 2, "{entries:?}");
    }
}
