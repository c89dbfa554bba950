use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use durable_fs::{AtomicFile, LockFile, Locking, folder, regular};

use crate::clean::sweep;
use crate::download::blocking;
use crate::part::{plain, temporary};
use crate::{FolderError, ManifestEntry, Shard, Target, safe_names};

/// A folder for verified files, and its `manifest.jsonl`: a line of JSON for each of them.
///
/// Open it before anything is billed: whatever can be known to go wrong with it shows then. One
/// process at a time has it open; those that [share](Self::open_shard) it have a manifest each.
///
/// Lines are appended as files are verified; [`finish`](Self::finish) leaves one line for each file. An entry stays, even if
/// its file is deleted or altered, until a newer verified file replaces it or [`forget`](crate::forget()) removes it.
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
    shard: Shard,
    manifest_path: PathBuf,
    entries: BTreeMap<String, ManifestEntry>,
    /// Opened at the first line.
    manifest: Option<File>,
    /// How much of the manifest is whole lines.
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

/// What the name of the file begins and ends with that keeps others out; between them is the share of the work.
pub(crate) const LOCK: (&str, &str) = (".aignostics", ".lock");
/// The permissions of new files; the umask applies.
const MODE: u32 = 0o666;
/// More than any manifest has.
const LIMIT: usize = 1 << 34;

impl FolderOptions {
    /// All of the work, locked by the kernel or by a lease.
    pub fn new() -> Self {
        Self::default()
    }

    /// One of several shares of the work.
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

    /// Opens the folder also if nothing can be written to it, such as to [clean](ResultFolder::clean) it when the disk is full.
    #[must_use]
    pub fn with_full_disk(mut self) -> Self {
        self.is_full = true;
        self
    }

    /// Opens a folder, which is created if necessary.
    ///
    /// # Errors
    ///
    /// Those of [`ResultFolder::open`].
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
        // Never deleted, so that all lock the same.
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
            // Whether it can be written shows now, not when the first file is there.
            regular::open(OpenOptions::new().append(true), &manifest_path, "write")?;
        }
        Ok(ResultFolder { path, shard, manifest_path, entries, manifest: None, whole, locking, lock })
    }
}

impl ResultFolder {
    /// Opens a folder, which is created if necessary. What its manifest says stays.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: it cannot be written, another process has it, or its manifest holds a line of
    /// another kind. A last line that a crash cut off is no error. A symbolic link in the place of the manifest or of the lock
    /// file is refused.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        FolderOptions::new().open(path).await
    }

    /// The same for one of several processes that share the folder, each with a shard of its own. Its manifest is
    /// `manifest.INDEX-of-COUNT.jsonl`.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open); another process has it if it has the same shard.
    pub async fn open_shard(path: impl Into<PathBuf>, shard: Shard) -> Result<Self, FolderError> {
        FolderOptions::new().with_shard(shard).open(path).await
    }

    /// Whether a folder is one for results, or was: for whoever must not take results for something else.
    pub fn is_at(path: &Path) -> bool {
        let is_lock = |name: &str| name.starts_with(LOCK.0) && name.ends_with(LOCK.1);
        let mut entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().to_str().is_some_and(is_lock))
    }

    /// Returns the paths of the files that the manifests in `folder` list, whether or not they exist. It blocks.
    pub fn listed_at(folder: &Path) -> Vec<PathBuf> {
        crate::manifest::listed(folder)
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The entry of the manifest for a file, if the file is still in the folder.
    pub fn present(&self, file: &str) -> Option<&ManifestEntry> {
        self.entries.get(file).filter(|entry| entry.is_present_in(&self.path))
    }

    /// Returns the kind of lock against other processes.
    pub fn locking(&self) -> Locking {
        self.locking
    }

    /// The share of the work that it was opened for.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Returns what the manifest states of a file, by its path relative to the folder.
    pub fn recorded(&self, file: &str) -> Option<&ManifestEntry> {
        self.entries.get(file)
    }

    /// A file in the folder, in a subfolder for each of `names` but the last.
    pub fn target(&self, names: impl IntoIterator<Item = impl Into<String>>) -> Target {
        Target::within(&self.path, names)
    }

    /// Whether so many bytes can still be written, as far as the system says.
    ///
    /// # Errors
    ///
    /// [`FolderError::is_disk_full`]: they cannot; or the file system cannot be asked.
    pub async fn check_room(&self, needed: u64) -> Result<(), FolderError> {
        let path = self.path.clone();
        let room = blocking(move || folder::free_space(&path).map_err(plain)).await;
        match room.map_err(|error| FolderError::io(&self.path, error))? {
            Some(room) if room < needed => Err(FolderError::no_room(&self.path, needed, room)),
            _ => Ok(()),
        }
    }

    /// Creates a subfolder for each of `names`, as [`safe_names`] gives it.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: one cannot be created, or is a symbolic link, which could lead anywhere.
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

    /// Records a file that is in its place, unless the manifest says all of that already.
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

    /// Rewrites the manifest with one line for each file, in the order of their names, and returns its path.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be written; the appended one is still there then.
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

/// The file that is written to find out whether a folder can be written.
fn probe(shard: Shard) -> String {
    format!("{}{}.probe", LOCK.0, shard.infix())
}

/// What a manifest says, if there is one, and how long it is without a last line that a crash cut off.
pub(crate) fn read(manifest: &Path) -> Result<(Entries, u64), FolderError> {
    let Some(found) = regular::read(manifest, LIMIT)? else { return Ok((Entries::new(), 0)) };
    let text = std::str::from_utf8(found.bytes());
    let text = text.map_err(|error| FolderError::io(manifest, std::io::Error::other(error)))?;
    parse(text).map_err(|(line, source)| FolderError::malformed(manifest, line, source))
}

pub(crate) type Entries = BTreeMap<String, ManifestEntry>;

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
