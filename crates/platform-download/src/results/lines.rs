use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::transfer::partial_file::Reader;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(super) at: u64,
    pub(super) bytes: usize,
}

/// The last line of each file of a manifest. The entries themselves stay on the disk: a folder can have very many.
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
        Reader::from(manifest, path, self.at).read_exact(&mut text)?;
        Ok(text)
    }
}

impl Lines {
    pub(super) fn insert(&mut self, file: String, run: &str, line: Line) {
        let number = self.runs.get(run).copied().unwrap_or_else(|| {
            let next = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
            self.runs.insert(run.into(), next);
            next
        });
        self.files.insert(file.into(), (line, number));
    }

    pub(super) fn get(&self, file: &str) -> Option<Line> {
        self.files.get(file).map(|(line, _)| *line)
    }

    /// Returns the lines in the order of their files.
    pub(super) fn iter(&self) -> impl Iterator<Item = Line> {
        self.files.values().map(|(line, _)| *line)
    }

    /// Returns the lines of a run, without reading others.
    pub(super) fn of_run(&self, run: &str) -> impl Iterator<Item = Line> {
        let number = self.runs.get(run).copied();
        // A run without a line costs no scan.
        let files = number.map(|_| self.files.values()).into_iter().flatten();
        files.filter(move |(_, run)| number == Some(*run)).map(|(line, _)| *line)
    }

    /// Removes files, and returns the number of those that had a line.
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
    fn lines_of_a_run_are_those_of_its_current_files() {
        let line = |at| Line { at, bytes: 1 };
        let mut lines = Lines::default();
        for (file, run, at) in [("a", "one", 0), ("b", "two", 1), ("c", "one", 2), ("a", "two", 3)] {
            lines.insert(file.to_owned(), run, line(at));
        }
        let of = |lines: &Lines, run| lines.of_run(run).map(|line| line.at).collect::<Vec<_>>();
        assert_eq!((of(&lines, "one"), of(&lines, "two"), of(&lines, "three")), (vec![2], vec![3, 1], vec![]));
        assert_eq!((lines.remove(&BTreeSet::from(["b", "x"])), of(&lines, "two")), (1, vec![3]));
    }
}
