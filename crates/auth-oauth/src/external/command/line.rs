use crate::external::error::{CredentialError, Origin};

/// Splits a command line into a program and its arguments. The line is a JSON array of strings, or text that is split
/// by the rules of a POSIX shell. Variables, globs and tildes are not expanded.
///
/// ```
/// let words = auth_oauth::command_line(r#"vault "the token" '$HOME'"#)?;
/// assert_eq!(words, ["vault", "the token", "$HOME"]);
/// let words = auth_oauth::command_line(r#"["vault", "the \"token\""]"#)?;
/// assert_eq!(words, ["vault", "the \"token\""]);
/// # Ok::<(), auth_oauth::CredentialError>(())
/// ```
///
/// # Errors
///
/// A quotation mark is not closed, the text ends with a backslash, the JSON is not an array of strings, the program is missing, or a word contains a
/// NUL character.
pub fn command_line(text: &str) -> Result<Vec<String>, CredentialError> {
    let origin = Origin::new("token command", "setting");
    let words: Vec<String> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|_| {
            origin.unusable("it is not a JSON array of strings", r#"write it like ["program", "argument"]"#)
        })?
    } else {
        shlex::split(text).ok_or_else(|| {
            origin.unusable("a quotation mark is not closed, or it ends with a backslash", "use a JSON array")
        })?
    };
    if words.iter().any(|word| word.contains('\0')) {
        return Err(origin.unusable("it contains a NUL character", "remove the character"));
    }
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(origin.unusable("it contains no program", "enter a program and its arguments")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_like_in_a_shell_without_expansion() {
        for (text, expected) in [
            (r"a b\ c", &["a", "b c"][..]),
            (r#"a "b \" $X `c` *" '~' "#, &["a", "b \" $X `c` *", "~"]),
            ("a\t b\nc", &["a", "b", "c"]),
            ("a '' \"\"", &["a", "", ""]),
            ("a b;c|d>e", &["a", "b;c|d>e"]),
            (r#" ["a b", "c"] "#, &["a b", "c"]),
        ] {
            assert_eq!(command_line(text).unwrap(), expected, "{text}");
        }
        for text in
            ["", " ", "''", "a 'b", "a \"b", "a \\", "[]", r#"["a", 1]"#, r#"["a""#, r#"[""]"#, r#"["a\u0000"]"#]
        {
            assert!(command_line(text).is_err(), "{text}");
        }
    }
}
