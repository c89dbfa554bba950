//! Command lines in messages.

use std::ffi::OsString;

/// Returns instructions to find the run of a submission, one per line.
pub(crate) fn look_up(token: &str) -> Vec<String> {
    let path = format!("$.submission_token ? (@ == \"{token}\")");
    vec![
        format!("submission token: {token}"),
        format!("look it up: aignostics run list --custom-metadata {}", quoted(&path)),
    ]
}

/// Returns the command line of this process without `left_out` arguments, quoted for a POSIX shell.
pub(crate) fn command_line(arguments: impl Iterator<Item = OsString>, left_out: &[&str]) -> String {
    let arguments = arguments.skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let arguments = arguments.filter(|argument| !left_out.contains(&argument.as_str()));
    std::iter::once("aignostics".to_owned()).chain(arguments.map(|text| quoted(&text))).collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,+@%".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_quoted_for_a_shell() {
        let arguments = ["/bin/aignostics", "run", "execute", "a b.csv", "it's", "", "--resubmit", "gs://b/c"];
        let line = command_line(arguments.into_iter().map(OsString::from), &["--resubmit"]);
        assert_eq!(line, r"aignostics run execute 'a b.csv' 'it'\''s' '' gs://b/c");
    }
}
