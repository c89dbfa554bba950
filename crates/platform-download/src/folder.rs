use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::download::{blocking, create_part, publish};
use crate::{FolderError, ManifestEntry, escape};

const MANIFEST: &str = "manifest.jsonl";
/// Locked by the one process that writes into the folder; never deleted, so that all lock the same.
const LOCK: &str = ".aignostics.lock";

/// A folder for verified files, and its `manifest.jsonl`: a line of JSON for each of them.
///
/// Open it before anything is billed: whatever can be known to go wrong with it shows then. One
/// process at a time has it open.
///
/// Lines are appended as files are verified; [`finish`](Self::finish) leaves one line for each file
/// that is there.
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
    entries: BTreeMap<String, ManifestEntry>,
    /// Opened at the first line.
    manifest: Option<File>,
    /// How much of the manifest is whole lines.
    whole: u64,
    _lock: File,
}

impl ResultFolder {
    /// Opens a folder, which is created if need be. What its manifest says stays.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: it cannot be written, another process has it, or its manifest holds a line of
    /// another kind. A last line that a crash cut off is no error.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        let path = path.into();
        let failed = path.clone();
        blocking(move || Ok(Self::open_now(path))).await.unwrap_or_else(|error| Err(FolderError::io(&failed, error)))
    }

    fn open_now(path: PathBuf) -> Result<Self, FolderError> {
        let failed = |error| FolderError::io(&path, error);
        fs::create_dir_all(&path).map_err(failed)?;
        let lock_path = path.join(LOCK);
        let unlocked = |error| FolderError::io(&lock_path, error);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(unlocked)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::locked(&path)),
            Err(TryLockError::Error(error)) => return Err(unlocked(error)),
        }
        probe(&path).map_err(failed)?;
        let manifest = path.join(MANIFEST);
        let failed = |error| FolderError::io(&manifest, error);
        let (entries, whole) = match fs::read_to_string(&manifest) {
            Ok(text) => {
                // Whether it can be written shows now, not when the first file is there.
                OpenOptions::new().append(true).open(&manifest).map_err(failed)?;
                parse(&text).map_err(|(line, source)| FolderError::malformed(&manifest, line, source))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (BTreeMap::new(), 0),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { path, entries, manifest: None, whole, _lock: lock })
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a subfolder for each of `names`, as [`escape`] gives it.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: one cannot be created, or two names differ only in case, which not every
    /// file system keeps apart.
    pub async fn reserve(&self, names: &[&str]) -> Result<(), FolderError> {
        let mut taken = HashMap::new();
        let mut folders = Vec::new();
        for name in names {
            let folder = escape(name);
            if let Some(other) = taken.insert(folder.to_lowercase(), *name) {
                return Err(FolderError::collision(&self.path, other, name));
            }
            folders.push(self.path.join(folder));
        }
        let create = move || {
            for folder in folders {
                if let Err(error) = fs::create_dir_all(&folder).and_then(|()| probe(&folder)) {
                    return Ok(Err(FolderError::io(&folder, error)));
                }
            }
            Ok(Ok(()))
        };
        blocking(create).await.unwrap_or_else(|error| Err(FolderError::io(&self.path, error)))
    }

    /// Records a file that was just verified.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be written.
    pub async fn record(&mut self, entry: ManifestEntry) -> Result<(), FolderError> {
        let (path, whole, open) = (self.path.join(MANIFEST), self.whole, self.manifest.take());
        let (failed, line) = (path.clone(), entry.line());
        let append = move || {
            let mut file = if let Some(file) = open {
                file
            } else {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                // Half a line would spoil the next.
                file.set_len(whole)?;
                file
            };
            file.write_all(line.as_bytes())?;
            Ok(file)
        };
        self.manifest = Some(blocking(append).await.map_err(|error| FolderError::io(&failed, error))?);
        self.entries.insert(entry.file.clone(), entry);
        Ok(())
    }

    /// Rewrites the manifest with one line for each file that is there, in the order of their names,
    /// and returns its path.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be written; the appended one is still there then.
    pub async fn finish(self) -> Result<PathBuf, FolderError> {
        let manifest = self.path.join(MANIFEST);
        let target = manifest.clone();
        let rewrite = move || {
            let present = self.entries.values().filter(|entry| entry.is_present_in(&self.path));
            let mut part = create_part(&target)?;
            part.write_all(present.map(ManifestEntry::line).collect::<String>().as_bytes())?;
            publish(part, &target)
        };
        match blocking(rewrite).await {
            Ok(()) => Ok(manifest),
            Err(error) => Err(FolderError::io(&manifest, error)),
        }
    }
}

/// Finds out whether files can be written into a folder, and whether there is any room.
fn probe(folder: &Path) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(folder)?;
    file.write_all(&[0; 4096])?;
    file.as_file().sync_all()
}

type Entries = BTreeMap<String, ManifestEntry>;

/// The entries of a manifest, and how long it is without a last line that a crash cut off; or the
/// number of a line that is no entry.
fn parse(text: &str) -> Result<(Entries, u64), (usize, serde_json::Error)> {
    let mut entries = Entries::new();
    let mut whole = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        match serde_json::from_str::<ManifestEntry>(line) {
            Ok(entry) if line.ends_with('\n') => {
                entries.insert(entry.file.clone(), entry);
                whole += line.len() as u64;
            }
            // It was written by this project, or looks as if: nothing that anybody would miss.
            Ok(_) => {}
            Err(_) if !line.ends_with('\n') && line.starts_with("{\"run\":") => {}
            Err(source) => return Err((number, source)),
        }
    }
    Ok((entries, whole))
}
