//! Durations and dates as arguments. Neither is guessed: a duration has a unit, and a date has a time zone.

use std::time::Duration;

use jiff::civil::DateTime;
use platform_resources::Timestamp;

/// Parses a duration such as 90s, 10m, 2h or 1d.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
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
pub(crate) fn parse_timestamp(text: &str) -> Result<Timestamp, String> {
    let moment: jiff::Timestamp = text.parse().map_err(|_| match text.parse::<DateTime>() {
        Ok(_) => "the time zone is missing, such as 2027-12-31T23:59:59Z or 2027-12-31T23:59:59+01:00".to_owned(),
        Err(_) => "expected a date and time with a time zone, such as 2027-12-31T23:59:59Z".to_owned(),
    })?;
    moment.to_string().parse().map_err(|error: platform_resources::TimestampError| error.to_string())
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
        for (text, moment) in [
            ("2027-06-01T18:00:00Z", "2027-06-01T18:00:00Z"),
            ("2027-06-01T18:00-07:00", "2027-06-02T01:00:00Z"),
            ("2027-06-01 18:00:00+02:00", "2027-06-01T16:00:00Z"),
        ] {
            assert_eq!(parse_timestamp(text).unwrap().to_string(), moment, "{text}");
        }
        for text in ["2027-06-01T18:00", "2027-06-01 18:00:00", "2027-06-01"] {
            assert!(parse_timestamp(text).unwrap_err().contains("time zone is missing"), "{text}");
        }
        assert!(parse_timestamp("tomorrow").unwrap_err().starts_with("expected a date"));
    }
}
