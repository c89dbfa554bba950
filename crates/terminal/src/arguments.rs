//! Parsers for durations and dates in arguments, and quoting of command lines in messages. A duration needs a unit and
//! a date needs a time zone; otherwise they would be ambiguous.

use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::civil::DateTime;

/// Returns a parser that converts each of these names to its value. The help lists the names.
pub fn choice<T>(values: impl IntoIterator<Item = (&'static str, T)>) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
{
    let values: Vec<_> = values.into_iter().collect();
    let parser = PossibleValuesParser::new(values.iter().map(|(name, _)| *name));
    parser.try_map(move |name| {
        let choice = values.iter().find(|(known_name, _)| known_name.eq_ignore_ascii_case(&name));
        choice.map(|(_, value)| value.clone()).ok_or("unknown value")
    })
}

/// Parses a duration such as 90s, 10m, 2h or 1d.
///
/// # Errors
///
/// The unit or the number is missing or invalid.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|character: char| character.is_ascii_alphabetic()).len());
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "" => return Err("the unit is missing: s, m, h or d, such as 90s or 10m".to_owned()),
        _ => return Err("the unit is one of s, m, h and d, such as 90s or 10m".to_owned()),
    };
    let number: u32 =
        number.parse().map_err(|_| "expected a whole number and a unit, such as 90s or 10m".to_owned())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

/// Parses a date and time with a time zone (RFC 3339).
///
/// # Errors
///
/// The time zone is missing, or the text is not a date and time.
pub fn parse_time(text: &str) -> Result<SystemTime, String> {
    let timestamp: jiff::Timestamp = text.parse().map_err(|_| match text.parse::<DateTime>() {
        Ok(_) => "the time zone is missing, such as 2027-12-31T23:59:59Z or 2027-12-31T23:59:59+01:00".to_owned(),
        Err(_) => "expected a date and time with a time zone, such as 2027-12-31T23:59:59Z".to_owned(),
    })?;
    Ok(timestamp.into())
}

/// Splits an argument of the form `NAME=VALUE`, or with another separator.
///
/// # Errors
///
/// The separator is missing.
pub fn parse_pair(text: &str, separator: char) -> Result<(String, String), String> {
    let (name, value) = text.split_once(separator).ok_or_else(|| format!("expected NAME{separator}VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Returns a command line for a POSIX shell: `program`, followed by the quoted `arguments` of a process. The first
/// argument, the name of the process, and the arguments in `omitted` are left out.
pub fn command_line(program: &str, arguments: impl Iterator<Item = OsString>, omitted: &[&str]) -> String {
    let arguments = arguments.skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let arguments = arguments.filter(|argument| !omitted.contains(&argument.as_str()));
    std::iter::once(program.to_owned()).chain(arguments.map(|argument| quoted(&argument))).collect::<Vec<_>>().join(" ")
}

/// Returns `argument`, quoted for a POSIX shell if necessary.
pub fn quoted(argument: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,+@%".contains(character);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("10m", 600), ("2h", 7_200), ("1d", 86_400)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(parse_duration("5").unwrap_err().contains("unit is missing"));
        for text in ["", "s", "-5s", "1.5h", "5 s", "5ms", "99999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_need_a_time_zone() {
        for (text, expected) in [
            ("2027-06-01T18:00:00Z", "2027-06-01T18:00:00Z"),
            ("2027-06-01T18:00-07:00", "2027-06-02T01:00:00Z"),
            ("2027-06-01 18:00:00+02:00", "2027-06-01T16:00:00Z"),
        ] {
            assert_eq!(crate::time::timestamp(parse_time(text).unwrap()), expected, "{text}");
        }
        for text in ["2027-06-01T18:00", "2027-06-01 18:00:00", "2027-06-01"] {
            assert!(parse_time(text).unwrap_err().contains("time zone is missing"), "{text}");
        }
        assert!(parse_time("tomorrow").unwrap_err().starts_with("expected a date"));
    }

    #[test]
    fn command_line_is_quoted_for_a_shell() {
        let arguments = ["/bin/example", "run", "execute", "a b.csv", "it's", "", "--resubmit", "gs://b/c"];
        let line = command_line("example", arguments.into_iter().map(OsString::from), &["--resubmit"]);
        assert_eq!(line, r"example run execute 'a b.csv' 'it'\''s' '' gs://b/c");
    }
}
