use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::transfer::partial_file::Reader;

/// The position of a line in a manifest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

/// The last line of each file in a manifest. The entries themselves are not kept in memory, because a folder can have
/// very many.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The line of each file, with the number of its run.
    files: BTreeMap<Box<str>, (Line, u32)>,
    /// The number of each run.
    runs: HashMap<Box<str>, u32>,
}

impl Line {
    pub(super) fn read(self, manifest: &File, path: &Path) -> io::Result<Vec<u8>> {
        let mut text = vec![0; self.bytes];
        Reader::from(manifest, path, self.offset).read_exact(&mut text)?;
        Ok(text)
    }
}

impl Lines {
    pub(super) fn insert(&mut self, file: String, run: &str, line: Line) {
        let run_number = self.runs.get(run).copied().unwrap_or_else(|| {
            let next = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
            self.runs.insert(run.into(), next);
            next
        });
        self.files.insert(file.into(), (line, run_number));
    }

    pub(super) fn get(&self, file: &str) -> Option<Line> {
        self.files.get(file).map(|(line, _)| *line)
    }

    /// Returns the lines in the order of their files.
    pub(super) fn iter(&self) -> impl Iterator<Item = Line> {
        self.files.values().map(|(line, _)| *line)
    }

    /// Returns the lines of a run.
    pub(super) fn of_run(&self, run: &str) -> impl Iterator<Item = Line> {
        let number = self.runs.get(run).copied();
        // Without a line of this run, no file is compared.
        let files = number.map(|_| self.files.values()).into_iter().flatten();
        files.filter(move |(_, run)| number == Some(*run)).map(|(line, _)| *line)
    }

    /// Removes files, and returns the number of files that had a line.
    pub(super) fn remove(&mut self, files: &BTreeSet<&str>) -> usize {
        let before = self.files.len();
        self.files.retain(|file, _| !files.contains(&**file));
        before - self.files.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_has_the_lines_of_its_current_files() {
        let line = |offset| Line { offset, bytes: 1 };
        let mut lines = Lines::default();
        for (file, run, offset) in [("a", "one", 0), ("b", "two", 1), ("c", "one", 2), ("a", "two", 3)] {
            lines.insert(file.to_owned(), run, line(offset));
        }
        let offsets = |lines: &Lines, run| lines.of_run(run).map(|line| line.offset).collect::<Vec<_>>();
        assert_eq!(
            (offsets(&lines, "one"), offsets(&lines, "two"), offsets(&lines, "three")),
            (vec![2], vec![3, 1], vec![])
        );
        assert_eq!((lines.remove(&BTreeSet::from(["b", "x"])), offsets(&lines, "two")), (1, vec![3]));
    }
}
