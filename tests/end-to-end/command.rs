//! Runs the command and checks its output and its files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, Crc};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_aignostics");

/// The folders of a test, for results and for temporary files of the command.
pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self { folder: TempDir::new().unwrap() };
        fs::create_dir(sandbox.temporary()).unwrap();
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.path("results")
    }

    /// Returns the folder for temporary files of the command.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path("tmp")
    }

    /// Returns `aignostics demo`, with verbose output.
    pub(crate) fn demo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["--verbose", "demo", "--output"]).arg(self.output()).args(arguments);
        command.env("TMPDIR", self.temporary()).current_dir(self.folder.path());
        command
    }

    /// Runs the demo and waits for its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> CommandResult {
        CommandResult::of(&self.demo(arguments).output().unwrap())
    }

    /// Returns all result files by their paths, without hidden files and the manifest.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect_files(&self.output(), &self.output(), &mut files);
        files.remove("manifest.jsonl");
        files
    }

    pub(crate) fn manifest(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.output().join("manifest.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Checks that the manifest lists exactly the files, with their lengths and checksums. An independent
    /// implementation computes the checksums.
    pub(crate) fn assert_manifest_is_correct(&self) {
        let files = self.files();
        let manifest = self.manifest();
        assert_eq!(manifest.len(), files.len());
        for line in &manifest {
            let content = &files[line["file"].as_str().unwrap()];
            let checksum = STANDARD.encode(Crc::<u32>::new(&CRC_32_ISCSI).checksum(content).to_be_bytes());
            assert_eq!(
                (line["bytes"].as_u64(), line["crc32c"].as_str()),
                (Some(content.len() as u64), Some(checksum.as_str()))
            );
            for name in ["run", "item", "artifact"] {
                assert!(!line[name].as_str().unwrap().is_empty(), "{line}");
            }
        }
    }

    /// Checks that the command has removed its temporary files, including the ones next to the results.
    pub(crate) fn assert_no_leftovers(&self) {
        assert_eq!(fs::read_dir(self.temporary()).unwrap().count(), 0);
        let mut parts = Vec::new();
        collect_unfinished(&self.output(), &mut parts);
        assert!(parts.is_empty(), "{parts:?}");
    }
}

fn collect_unfinished(folder: &Path, parts: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect_unfinished(&path, parts);
        // A complete file that is not renamed yet is kept with its state.
        } else if path.extension().is_some_and(|extension| extension == "part")
            && !path.with_extension("state").exists()
        {
            parts.push(path);
        }
    }
}

fn collect_files(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            collect_files(root, &path, files);
        } else if !name.starts_with('.') {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(relative, fs::read(&path).unwrap());
        }
    }
}

/// A finished command.
pub(crate) struct CommandResult {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CommandResult {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    pub(crate) fn assert_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
    }

    /// Returns the error message: the lines of stderr from the first line with `error: ` on.
    pub(crate) fn error_message(&self) -> String {
        let lines: Vec<_> = self.stderr.lines().skip_while(|line| !line.starts_with("error: ")).collect();
        lines.join("\n")
    }

    /// Returns the line of the table for an item, with single spaces.
    pub(crate) fn row(&self, item: &str) -> String {
        let line = self.stdout.lines().find(|line| line.trim_start().starts_with(item));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Returns the number of requests with this method and path prefix to which a server of the emulator has responded.
    pub(crate) fn served(&self, server: &str, method: &str, path: &str) -> usize {
        let (server, method, path) =
            (format!("server=\"{server}\""), format!("method={method}"), format!("path=\"{path}"));
        let matches = |line: &&str| [&server, &method, &path].iter().all(|part| line.contains(*part));
        self.stderr.lines().filter(matches).count()
    }
}
