//! The state file of a watch: the ids of all reported items and artifacts, one line of JSON each.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Cause;

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
    /// Opens the state file of a run, which is created if necessary, and returns it with its ids. A last line truncated
    /// by a crash is removed.
    pub(super) fn open(path: &Path, run: &str) -> Result<(Self, HashSet<String>), Cause> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let complete_bytes = text.rfind('\n').map_or(0, |end| end + 1);
        let first = serde_json::to_string(&Line::Run(run.to_owned()))?;
        // A crash can truncate the first line, too.
        if complete_bytes == 0 && !first.starts_with(&text) {
            return Err("it is not a state file of this run".into());
        }
        let mut seen_ids = HashSet::new();
        for (number, line) in text[..complete_bytes].lines().enumerate() {
            let line = serde_json::from_str(line);
            match line.map_err(|error| format!("line {} is invalid: {error}", number + 1))? {
                Line::Run(found) if found == run => {}
                Line::Run(found) => return Err(format!("it belongs to run {found}").into()),
                Line::Printed(_) if number == 0 => return Err("the run id is missing".into()),
                Line::Printed(id) => drop(seen_ids.insert(id)),
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.set_len(complete_bytes as u64)?;
        let mut state = Self(file);
        if complete_bytes == 0 {
            state.add(&Line::Run(run.to_owned()))?;
        }
        Ok((state, seen_ids))
    }

    pub(super) fn printed(&mut self, id: &str) -> io::Result<()> {
        self.add(&Line::Printed(id.to_owned()))
    }

    fn add(&mut self, line: &Line) -> io::Result<()> {
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
        state.printed("a").unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"told\":\"b").unwrap();
        let (mut state, seen_ids) = StateFile::open(&path, "run").unwrap();
        assert_eq!(seen_ids, HashSet::from(["a".to_owned()]));
        state.printed("c").unwrap();
        assert_eq!(StateFile::open(&path, "run").unwrap().1.len(), 2);
        assert!(StateFile::open(&path, "other").is_err());
        for other in ["my notes\n", "my notes", "{\"told\":\"a\"}\n"] {
            fs::write(&path, other).unwrap();
            assert!(StateFile::open(&path, "run").is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), other);
        }
        fs::write(&path, "{\"run\":\"run\"}\n{\"told\":\"a\"}\n").unwrap();
        assert_eq!(StateFile::open(&path, "run").unwrap().1, HashSet::from(["a".to_owned()]), "of an earlier version");
        fs::write(&path, "{\"run\":\"r").unwrap();
        assert!(StateFile::open(&path, "run").unwrap().1.is_empty());
    }
}
