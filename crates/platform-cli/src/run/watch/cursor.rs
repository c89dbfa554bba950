//! What was told of a run, as a word that goes anywhere.
//!
//! An item is named by its place among all items of the run, sorted by id: all of them are there from the submission
//! on. An artifact is named by its place among those of its item, which are all there when the item has ended. So a
//! cursor stands for a set, and is right in whatever order things happen. Its parts, with `.` between them:
//!
//! - the version of all this, `1`,
//! - a checksum over the run and its items, so that the cursor of another run is not taken for one of this,
//! - the items that were told: `0-41,43`,
//! - the artifacts that were told, for each item or several: `0-41:0-2+43:0`,
//! - `1` if the end of the run was told, and `0` if not.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use anyhow::{Context, bail, ensure};

type Places = BTreeSet<usize>;

const VERSION: &str = "1";
/// More artifacts than any item has.
const MOST_ARTIFACTS: usize = 100_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) items: Places,
    pub(super) artifacts: BTreeMap<usize, Places>,
    pub(super) ended: bool,
}

impl Cursor {
    /// It as a word, for a run with this checksum.
    pub(super) fn write(&self, check: &str) -> String {
        let ended = u8::from(self.ended);
        format!("{VERSION}.{check}.{}.{}.{ended}", ranges(&self.items), artifacts(&self.artifacts))
    }

    /// Reads it, for a run with this checksum and so many items.
    pub(super) fn read(text: &str, check: &str, count: usize) -> anyhow::Result<Self> {
        let parts: Vec<_> = text.trim().split('.').collect();
        let [version, found, items, artifacts, ended] = parts[..] else { bail!("it has not the parts of one") };
        ensure!(version == VERSION, "it is of another version of this command");
        ensure!(found == check, "it is of another run");
        let mut cursor = Self { items: parse_ranges(items, count)?, ended: ended == "1", ..Self::default() };
        for group in artifacts.split('+').filter(|group| !group.is_empty()) {
            let (items, artifacts) = group.split_once(':').context("a `:` is missing")?;
            let artifacts = parse_ranges(artifacts, MOST_ARTIFACTS)?;
            cursor.artifacts.extend(parse_ranges(items, count)?.into_iter().zip(iter::repeat(artifacts)));
        }
        ensure!(cursor.write(check) == text.trim(), "it is not as this command writes it");
        Ok(cursor)
    }
}

fn ranges(places: &Places) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &place in places {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == place => *last = place,
            _ => ranges.push((place, place)),
        }
    }
    let text = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(",")
}

/// Items with the same artifacts stand together.
fn artifacts(artifacts: &BTreeMap<usize, Places>) -> String {
    let mut groups: Vec<(String, Places)> = Vec::new();
    for (&item, places) in artifacts {
        let places = ranges(places);
        match groups.last_mut() {
            Some((last, items)) if *last == places => {
                items.insert(item);
            }
            _ => groups.push((places, Places::from([item]))),
        }
    }
    groups.iter().map(|(places, items)| format!("{}:{places}", ranges(items))).collect::<Vec<_>>().join("+")
}

fn parse_ranges(text: &str, count: usize) -> anyhow::Result<Places> {
    let mut places = Places::new();
    for range in text.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse()?, last.parse()?);
        ensure!(last < count, "there is no place {last}");
        places.extend(first..=last);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(items: &[usize], artifacts: &[(usize, &[usize])], ended: bool) -> Cursor {
        let artifacts = artifacts.iter().map(|(item, places)| (*item, places.iter().copied().collect()));
        Cursor { items: items.iter().copied().collect(), artifacts: artifacts.collect(), ended }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for (cursor, text) in [
            (cursor(&[], &[], false), "1.abc...0"),
            (cursor(&[0, 1, 2, 5], &[], false), "1.abc.0-2,5..0"),
            (cursor(&[0, 1, 2], &[(0, &[0, 1]), (1, &[0, 1]), (2, &[1])], true), "1.abc.0-2.0-1:0-1+2:1.1"),
        ] {
            assert_eq!(cursor.write("abc"), text);
            assert_eq!(Cursor::read(text, "abc", 6).unwrap(), cursor);
        }
    }

    #[test]
    fn what_is_no_cursor_of_the_run_is_refused() {
        for text in ["", "1", "2.abc...0", "1.abd...0", "1.abc.6..0", "1.abc.0-99999999999999..0", "1.abc.x..0"] {
            assert!(Cursor::read(text, "abc", 6).is_err(), "{text}");
        }
        for text in ["1.abc.2-1..0", "1.abc.1,0..0", "1.abc..0.0", "1.abc...2", "1.abc...", "1.abc.0.0:999999.0"] {
            assert!(Cursor::read(text, "abc", 6).is_err(), "{text}");
        }
    }
}
