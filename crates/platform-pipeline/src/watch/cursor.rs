//! A cursor, which identifies the printed events of a run. Its length does not depend on the number of items. Its
//! parts, separated by `.`:
//!
//! - the version of the format, `2`,
//! - a checksum of the run id, so that a cursor of another run is rejected,
//! - the latest end of a printed item, in microseconds since 1970, or empty,
//! - the same for items whose files were all printed,
//! - `1` if the end of the run was printed, `0` otherwise.

use std::time::{Duration, SystemTime};

use crate::error::Cause;

const VERSION: &str = "2";

/// The position after the printed events of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The latest end of a printed item.
    pub(super) items: Option<SystemTime>,
    /// The latest end of an item up to which all files were printed.
    pub(super) files: Option<SystemTime>,
    /// True if the end of the run was printed.
    pub(super) ended: bool,
}

impl Cursor {
    /// Returns the cursor as text, for a run with this checksum.
    pub(super) fn write(&self, run_checksum: &str) -> String {
        format!(
            "{VERSION}.{run_checksum}.{}.{}.{}",
            format_micros(self.items),
            format_micros(self.files),
            u8::from(self.ended)
        )
    }

    /// Parses a cursor, for a run with this checksum.
    pub(super) fn read(text: &str, run_checksum: &str) -> Result<Self, Cause> {
        let text = text.trim();
        let parts: Vec<_> = text.split('.').collect();
        let [version, actual_checksum, items, files, ended] = parts[..] else { return Err("expected 5 parts".into()) };
        if version != VERSION {
            return Err("it has the format of another version of this command".into());
        }
        if actual_checksum != run_checksum {
            return Err("it belongs to another run".into());
        }
        let cursor = Self { items: parse_time(items)?, files: parse_time(files)?, ended: ended == "1" };
        if cursor.write(run_checksum) == text { Ok(cursor) } else { Err("it was not written by this command".into()) }
    }
}

fn format_micros(time: Option<SystemTime>) -> String {
    let since_epoch = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since_epoch.map(|since_epoch| since_epoch.as_micros().to_string()).unwrap_or_default()
}

fn parse_time(text: &str) -> Result<Option<SystemTime>, Cause> {
    if text.is_empty() {
        return Ok(None);
    }
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(text.parse()?));
    if time.is_none() {
        return Err("a time is out of range".into());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_round_trips_and_is_short() {
        let at = |micros| Some(SystemTime::UNIX_EPOCH + Duration::from_micros(micros));
        for (cursor, text) in [
            (Cursor::default(), "2.abc...0"),
            (Cursor { items: at(7), files: None, ended: false }, "2.abc.7..0"),
            (Cursor { items: at(u64::MAX / 4), files: at(6), ended: true }, "2.abc.4611686018427387903.6.1"),
        ] {
            assert_eq!(cursor.write("abc"), text);
            assert_eq!(Cursor::read(text, "abc").unwrap(), cursor);
            assert!(text.len() <= 200);
        }
    }

    #[test]
    fn invalid_cursors_are_rejected() {
        for text in
            ["", "2", "1.abc...0", "2.abd...0", "2.abc.x..0", "2.abc.07..0", "2.abc...2", "2.abc...", "2.abc.-1..0"]
        {
            assert!(Cursor::read(text, "abc").is_err(), "{text}");
        }
    }
}
