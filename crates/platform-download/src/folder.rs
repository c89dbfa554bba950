use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use durable_fs::{AtomicFile, LockFile, Locking, folder, regular};

use crate::clean::sweep;
use crate::download::blocking;
use crate::part::{plain, temporary};
use crate::{FolderError, ManifestEntry, Shard, Target, safe_names};

/// A folder for verified files, and its `manifest.jsonl` with one line of JSON per file.
///
/// Open it before anything is billed: most of its possible errors occur then. One process at a time can open it;
/// processes that [share](Self::open_shard) it have one manifest each.
///
/// Lines are appended as files are verified; [`finish`](Self::finish) leaves one line per file. The entry of a deleted
/// or modified file is kept until a newer verified file replaces it or [`forget`](crate::forget()) removes it.
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
    shard: Shard,
    manifest_path: PathBuf,
    entries: BTreeMap<String, ManifestEntry>,
    /// Opened for the first line.
    manifest: Option<File>,
    /// The length of the complete lines of the manifest.
    whole: u64,
    locking: Locking,
    lock: LockFile,
}

/// Options for opening a [`ResultFolder`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FolderOptions {
    shard: Shard,
    locking: Locking,
    is_full: bool,
}

/// The prefix and suffix of the lock file name; the shard is between them.
pub(crate) const LOCK: (&str, &str) = (".aignostics", ".lock");
/// The mode of new files; the umask applies.
const MODE: u32 = 0o666;
/// A length that no manifest exceeds.
const LIMIT: usize = 1 << 34;

impl FolderOptions {
    /// Creates options for all of the work, with a kernel lock or a lease.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the shard of this process.
    #[must_use]
    pub fn with_shard(mut self, shard: Shard) -> Self {
        self.shard = shard;
        self
    }

    /// Sets the kind of lock against other processes.
    #[must_use]
    pub fn with_locking(mut self, locking: Locking) -> Self {
        self.locking = locking;
        self
    }

    /// Opens the folder even if it is not writable, for example to [clean](ResultFolder::clean) it when the disk is
    /// full.
    #[must_use]
    pub fn with_full_disk(mut self) -> Self {
        self.is_full = true;
        self
    }

    /// Opens a folder, which is created if necessary.
    ///
    /// # Errors
    ///
    /// The same as [`ResultFolder::open`].
    pub async fn open(self, path: impl Into<PathBuf>) -> Result<ResultFolder, FolderError> {
        let path = path.into();
        let failed = path.clone();
        let opened = blocking(move || Ok(self.open_now(path))).await;
        opened.unwrap_or_else(|error| Err(FolderError::io(&failed, error)))
    }

    /// Opens a folder. Blocks.
    pub(crate) fn open_now(self, path: PathBuf) -> Result<ResultFolder, FolderError> {
        let Self { shard, locking, is_full } = self;
        fs::create_dir_all(&path).map_err(|error| FolderError::io(&path, error))?;
        // Never deleted, so that all processes lock the same file.
        let lock_path = path.join(format!("{}{}{}", LOCK.0, shard.infix(), LOCK.1));
        let mut options = OpenOptions::new();
        let file = regular::create(options.create(true).truncate(false).write(true), &lock_path, MODE, "open")?;
        let lock = LockFile::try_lock(file, lock_path, locking)?.ok_or_else(|| FolderError::locked(&path))?;
        let manifest_path = path.join(format!("manifest{}.jsonl", shard.infix()));
        if !is_full {
            sweep(&path, locking).map_err(|error| FolderError::io(&path, error))?;
            folder::probe(&path, &probe(shard))?;
        }
        let (entries, whole) = read(&manifest_path)?;
        if whole > 0 {
            // Reports a manifest that is not writable now, not after the first file.
            regular::open(OpenOptions::new().append(true), &manifest_path, "write")?;
        }
        Ok(ResultFolder { path, shard, manifest_path, entries, manifest: None, whole, locking, lock })
    }
}

impl ResultFolder {
    /// Opens a folder, which is created if necessary. Its manifest is kept.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: it is not writable, another process has it open, or its manifest contains an invalid line. A
    /// last line truncated by a crash is not an error. A symbolic link as the manifest or the lock file is rejected.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        FolderOptions::new().open(path).await
    }

    /// Opens a folder for one of several processes that share it, each with its own shard. Its manifest is
    /// `manifest.INDEX-of-COUNT.jsonl`.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](Self::open); the folder is open if another process has the same shard.
    pub async fn open_shard(path: impl Into<PathBuf>, shard: Shard) -> Result<Self, FolderError> {
        FolderOptions::new().with_shard(shard).open(path).await
    }

    /// Returns true if a folder is, or was, a result folder, so that results are not mistaken for input.
    pub fn is_at(path: &Path) -> bool {
        let is_lock = |name: &str| name.starts_with(LOCK.0) && name.ends_with(LOCK.1);
        let mut entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().to_str().is_some_and(is_lock))
    }

    /// Returns the paths listed in the manifests of `folder`, existing or not. Blocks.
    pub fn listed_at(folder: &Path) -> Vec<PathBuf> {
        crate::manifest::listed(folder)
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the manifest entry of a file, if the file exists in the folder.
    pub fn present(&self, file: &str) -> Option<&ManifestEntry> {
        self.entries.get(file).filter(|entry| entry.is_present_in(&self.path))
    }

    /// Returns the kind of lock against other processes.
    pub fn locking(&self) -> Locking {
        self.locking
    }

    /// Returns the shard that it was opened for.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Returns the manifest entry of a file, by its path relative to the folder.
    pub fn recorded(&self, file: &str) -> Option<&ManifestEntry> {
        self.entries.get(file)
    }

    /// Returns a target in the folder. All of `names` except the last are subfolders.
    pub fn target(&self, names: impl IntoIterator<Item = impl Into<String>>) -> Target {
        Target::within(&self.path, names)
    }

    /// Checks that `needed` bytes can be written, according to the file system.
    ///
    /// # Errors
    ///
    /// [`FolderError::is_disk_full`] if they cannot. Other errors if the file system cannot be queried.
    pub async fn check_room(&self, needed: u64) -> Result<(), FolderError> {
        let path = self.path.clone();
        let room = blocking(move || folder::free_space(&path).map_err(plain)).await;
        match room.map_err(|error| FolderError::io(&self.path, error))? {
            Some(room) if room < needed => Err(FolderError::no_room(&self.path, needed, room)),
            _ => Ok(()),
        }
    }

    /// Creates nested subfolders for `names`, encoded by [`safe_names`].
    ///
    /// # Errors
    ///
    /// [`FolderError`]: one cannot be created, or is a symbolic link, which could point anywhere.
    pub async fn reserve(&self, names: &[&str]) -> Result<(), FolderError> {
        let names: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
        let targets: Vec<_> =
            safe_names(&names).into_iter().map(|name| self.target([name, "file".to_owned()])).collect();
        let temporary = probe(self.shard);
        let create = move || {
            for target in targets {
                let prepared = target.prepare();
                if let Err(error) = prepared.and_then(|places| folder::probe(&places.folder, &temporary).map_err(plain))
                {
                    let path = target.path();
                    return Ok(Err(FolderError::io(path.parent().unwrap_or(&path), error)));
                }
            }
            Ok(Ok(()))
        };
        blocking(create).await.unwrap_or_else(|error| Err(FolderError::io(&self.path, error)))
    }

    /// Records a published file, unless the manifest has an equivalent entry.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be written.
    pub async fn record(&mut self, entry: ManifestEntry) -> Result<(), FolderError> {
        if self.entries.get(&entry.file).is_some_and(|known| entry.is_known_by(known)) {
            return Ok(());
        }
        self.lock.ensure_held()?;
        let (path, whole, open) = (self.manifest_path.clone(), self.whole, self.manifest.take());
        let (failed, line) = (path.clone(), entry.line());
        let append = move || {
            let mut file = if let Some(file) = open {
                file
            } else {
                let mut options = OpenOptions::new();
                let file = regular::create(options.create(true).append(true), &path, MODE, "write").map_err(plain)?;
                // A partial line would corrupt the next.
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

    /// Rewrites the manifest with one line per file, ordered by name, and returns its path.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be written. The appended one is then unchanged.
    pub async fn finish(self) -> Result<PathBuf, FolderError> {
        let manifest = self.manifest_path.clone();
        let rewritten = blocking(move || Ok(self.finish_now())).await;
        rewritten.unwrap_or_else(|error| Err(FolderError::io(&manifest, error)))
    }

    /// Rewrites the manifest. Blocks.
    pub(crate) fn finish_now(self) -> Result<PathBuf, FolderError> {
        self.lock.ensure_held()?;
        let text = self.entries.values().map(ManifestEntry::line).collect::<String>();
        let hidden = self.path.join(format!(".manifest{}.jsonl", self.shard.infix()));
        AtomicFile::new(&self.manifest_path, temporary(&hidden)).with_mode(MODE).replace(text.as_bytes())?;
        Ok(self.manifest_path)
    }

    /// Removes entries, and returns their number.
    pub(crate) fn remove_entries(&mut self, files: &BTreeSet<&str>) -> usize {
        let before = self.entries.len();
        self.entries.retain(|file, _| !files.contains(file.as_str()));
        before - self.entries.len()
    }
}

/// Returns the name of the file that is written to check that the folder is writable.
fn probe(shard: Shard) -> String {
    format!("{}{}.probe", LOCK.0, shard.infix())
}

/// Reads a manifest, if it exists. Returns its entries, and its length without a truncated last line.
pub(crate) fn read(manifest: &Path) -> Result<(Entries, u64), FolderError> {
    let Some(found) = regular::read(manifest, LIMIT)? else { return Ok((Entries::new(), 0)) };
    let text = std::str::from_utf8(found.bytes());
    let text = text.map_err(|error| FolderError::io(manifest, std::io::Error::other(error)))?;
    parse(text).map_err(|(line, source)| FolderError::malformed(manifest, line, source))
}

pub(crate) type Entries = BTreeMap<String, ManifestEntry>;

/// Parses a manifest. Returns its entries, and its length without a truncated last line, or the number of an invalid
/// line.
fn parse(text: &str) -> Result<(Entries, u64), (usize, serde_json::Error)> {
    let mut entries = Entries::new();
    let mut whole = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        match serde_json::from_str::<ManifestEntry>(line) {
            Ok(entry) if line.ends_with('\n') => {
                entries.insert(entry.file.clone(), entry);
                whole += line.len() as u64;
            }
            // A line of an unknown kind, or a truncated line of this project: both can be ignored.
            Ok(_) => {}
            Err(_) if !line.ends_with('\n') && line.starts_with("{\"run\":") => {}
            Err(source) => return Err((number, source)),
        }
    }
    Ok((entries, whole))
}
