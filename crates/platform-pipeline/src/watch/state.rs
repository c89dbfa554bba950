//! The state file of a watch: the ids of all reported items and artifacts, one line of JSON each.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Cause;

/// A line of a state file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Run(String),
    /// The id of an item or an artifact.
    #[serde(alias = "told")]
    Printed(String),
}

/// An open state file.
#[derive(Debug)]
pub(super) struct StateFile(File);

impl StateFile {
    /// Opens the state file of a run, and returns it with the recorded ids. Creates the file if necessary, and removes
    /// a last line that a crash truncated.
    pub(super) fn open(path: &Path, run: &str) -> Result<(Self, HashSet<String>), Cause> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let complete_bytes = text.rfind('\n').map_or(0, |end| end + 1);
        let first_line = serde_json::to_string(&Line::Run(run.to_owned()))?;
        // A crash can truncate the first line, too.
        if complete_bytes == 0 && !first_line.starts_with(&text) {
            return Err("it is not a state file of this run".into());
        }
        let mut seen_ids = HashSet::new();
        for (number, line) in text[..complete_bytes].lines().enumerate() {
            let line = serde_json::from_str(line);
            match line.map_err(|error| format!("line {} is invalid: {error}", number + 1))? {
                Line::Run(id) if id == run => {}
                Line::Run(id) => return Err(format!("it belongs to run {id}").into()),
                Line::Printed(_) if number == 0 => return Err("the run id is missing".into()),
                Line::Printed(id) => drop(seen_ids.insert(id)),
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(complete_bytes as u64)?;
        let mut state = Self(file);
        if complete_bytes == 0 {
            state.append(&Line::Run(run.to_owned()))?;
        }
        Ok((state, seen_ids))
    }

    pub(super) fn record_printed(&mut self, id: &str) -> io::Result<()> {
        self.append(&Line::Printed(id.to_owned()))
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        let line = serde_json::to_string(line)? + "\n";
        self.0.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_a_crash_and_belongs_to_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut state, seen_ids) = StateFile::open(&path, "run").unwrap();
        assert!(seen_ids.is_empty());
        state.record_printed("a").unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"told\":\"b").unwrap();
        let (mut state, seen_ids) = StateFile::open(&path, "run").unwrap();
        assert_eq!(seen_ids, HashSet::from(["a".to_owned()]));
        state.record_printed("c").unwrap();
        assert_eq!(StateFile::open(&path, "run").unwrap().1.len(), 2);
        assert!(StateFile::open(&path, "other").is_err());
        for foreign_content in ["my notes\n", "my notes", "{\"told\":\"a\"}\n"] {
            fs::write(&path, foreign_content).unwrap();
            assert!(StateFile::open(&path, "run").is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), foreign_content);
        }
        fs::write(&path, "{\"run\":\"run\"}\n{\"told\":\"a\"}\n").unwrap();
        assert_eq!(StateFile::open(&path, "run").unwrap().1, HashSet::from(["a".to_owned()]), "of an earlier version");
        fs::write(&path, "{\"run\":\"r").unwrap();
        assert!(StateFile::open(&path, "run").unwrap().1.is_empty());
    }
}
