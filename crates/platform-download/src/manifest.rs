use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::Crc32c;
use crate::download::blocking;

const NAME: &str = "manifest.jsonl";

/// One verified file of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ManifestEntry {
    /// The run that made the file.
    pub run: String,
    /// The item of the run, as its submitter named it.
    pub item: String,
    /// The artifact of the item.
    pub artifact: String,
    /// Where the file lies, relative to the manifest, with `/` between folders.
    pub file: String,
    /// The length of the file.
    pub bytes: u64,
    /// The checksum of the file.
    pub crc32c: Crc32c,
}

impl ManifestEntry {
    /// An entry for a file.
    pub fn new(run: &str, item: &str, artifact: &str, file: &str, bytes: u64, crc32c: Crc32c) -> Self {
        let [run, item, artifact, file] = [run, item, artifact, file].map(str::to_owned);
        Self { run, item, artifact, file, bytes, crc32c }
    }
}

/// The `manifest.jsonl` of a folder: a line of JSON for each verified file in it.
///
/// Lines are appended as files are verified, so that what was recorded survives a crash;
/// [`finish`](Self::finish) leaves one line for each file, the newest.
#[derive(Debug)]
pub struct Manifest {
    path: PathBuf,
    file: File,
    entries: BTreeMap<String, ManifestEntry>,
}

/// The manifest cannot be read or written. It names the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct ManifestError {
    path: PathBuf,
    #[source]
    kind: Kind,
}

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the manifest cannot be read or written")]
    Io(#[source] io::Error),
    #[error("line {line} is no manifest entry; move the file away to start a new one")]
    Malformed { line: usize, source: serde_json::Error },
}

impl Manifest {
    /// Opens the manifest of `folder`, or starts one; the folder is created if need be. Entries that
    /// are there already stay.
    ///
    /// # Errors
    ///
    /// It cannot be read or written, or holds a line of another kind. A last line that a crash cut
    /// off is no error.
    pub async fn open(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(NAME);
        let failed = |error| ManifestError { path: path.clone(), kind: Kind::Io(error) };
        fs::create_dir_all(folder).await.map_err(failed)?;
        let text = match fs::read_to_string(&path).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut entries = BTreeMap::new();
        for (number, line) in text[..whole].lines().enumerate() {
            let malformed =
                |source| ManifestError { path: path.clone(), kind: Kind::Malformed { line: number + 1, source } };
            let entry: ManifestEntry = serde_json::from_str(line).map_err(malformed)?;
            entries.insert(entry.file.clone(), entry);
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).await.map_err(failed)?;
        file.set_len(whole as u64).await.map_err(failed)?;
        Ok(Self { path, file, entries })
    }

    /// Records a file that was just verified.
    ///
    /// # Errors
    ///
    /// The manifest cannot be written.
    pub async fn record(&mut self, entry: ManifestEntry) -> Result<(), ManifestError> {
        let written = self.file.write_all(line(&entry).as_bytes()).await;
        written.and(self.file.flush().await).map_err(|error| self.failed(error))?;
        self.entries.insert(entry.file.clone(), entry);
        Ok(())
    }

    /// Rewrites the manifest with one line for each file, in the order of their names, and returns its path.
    ///
    /// # Errors
    ///
    /// The manifest cannot be written; the appended one is still there then.
    pub async fn finish(self) -> Result<PathBuf, ManifestError> {
        let lines: String = self.entries.values().map(line).collect();
        let path = self.path.clone();
        blocking(move || replace(&path, lines.as_bytes())).await.map_err(|error| self.failed(error))?;
        Ok(self.path)
    }

    fn failed(&self, error: io::Error) -> ManifestError {
        ManifestError { path: self.path.clone(), kind: Kind::Io(error) }
    }
}

fn line(entry: &ManifestEntry) -> String {
    #[expect(clippy::expect_used, reason = "strings, numbers and a checksum are always JSON")]
    let json = serde_json::to_string(entry).expect("an entry is always JSON");
    json + "\n"
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use io::Write;
    let mut part = crate::download::create_part(path)?;
    part.write_all(content)?;
    crate::download::publish(part, path)
}
