use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::download::blocking;
use crate::target::{room, sync_folder};
use crate::{FolderError, ManifestEntry, Shard, Target, safe_names};

/// A folder for verified files, and its `manifest.jsonl`: a line of JSON for each of them.
///
/// Open it before anything is billed: whatever can be known to go wrong with it shows then. One
/// process at a time has it open; those that [share](Self::open_shard) it have a manifest each.
///
/// Lines are appended as files are verified; [`finish`](Self::finish) leaves one line for each file
/// that is there.
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
    _lock: File,
}

/// What the name of the file begins and ends with that keeps others out; between them is the share of the work.
const LOCK: (&str, &str) = (".aignostics", ".lock");

impl ResultFolder {
    /// Opens a folder, which is created if need be. What its manifest says stays.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: it cannot be written, another process has it, or its manifest holds a line of
    /// another kind. A last line that a crash cut off is no error.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        Self::open_shard(path, Shard::default()).await
    }

    /// The same for one of several processes that share the folder, each with a shard of its own. Its manifest is
    /// `manifest.INDEX-of-COUNT.jsonl`.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open); another process has it if it has the same shard.
    pub async fn open_shard(path: impl Into<PathBuf>, shard: Shard) -> Result<Self, FolderError> {
        let path = path.into();
        let failed = path.clone();
        let opened = blocking(move || Ok(Self::open_now(path, shard))).await;
        opened.unwrap_or_else(|error| Err(FolderError::io(&failed, error)))
    }

    fn open_now(path: PathBuf, shard: Shard) -> Result<Self, FolderError> {
        let failed = |error| FolderError::io(&path, error);
        fs::create_dir_all(&path).map_err(failed)?;
        // Never deleted, so that all lock the same.
        let lock_path = path.join(format!("{}{}{}", LOCK.0, shard.infix(), LOCK.1));
        let unlocked = |error| FolderError::io(&lock_path, error);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(unlocked)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::locked(&path)),
            Err(TryLockError::Error(error)) => return Err(unlocked(error)),
        }
        probe(&path).map_err(failed)?;
        let manifest_path = path.join(format!("manifest{}.jsonl", shard.infix()));
        let (entries, whole) = read(&manifest_path)?;
        if whole > 0 {
            // Whether it can be written shows now, not when the first file is there.
            let opened = OpenOptions::new().append(true).open(&manifest_path);
            opened.map_err(|error| FolderError::io(&manifest_path, error))?;
        }
        Ok(Self { path, shard, manifest_path, entries, manifest: None, whole, _lock: lock })
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
        match blocking(move || room(&path)).await.map_err(|error| FolderError::io(&self.path, error))? {
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
        let create = move || {
            for target in targets {
                if let Err(error) = target.prepare().and_then(|places| probe(&places.folder)) {
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
        let (path, whole, open) = (self.manifest_path.clone(), self.whole, self.manifest.take());
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
        let manifest = self.manifest_path.clone();
        let rewrite = move || {
            let present = self.entries.values().filter(|entry| entry.is_present_in(&self.path));
            let mut part = builder().tempfile_in(&self.path)?;
            part.write_all(present.map(ManifestEntry::line).collect::<String>().as_bytes())?;
            part.as_file().sync_all()?;
            part.persist(&self.manifest_path).map_err(|error| error.error)?;
            sync_folder(&self.path)
        };
        match blocking(rewrite).await {
            Ok(()) => Ok(manifest),
            Err(error) => Err(FolderError::io(&manifest, error)),
        }
    }
}

/// Files that are on their way to a name.
fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    // The permissions that any new file gets, not those of a temporary one; the umask takes its share.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// Finds out whether files can be written into a folder, and whether there is any room.
fn probe(folder: &Path) -> io::Result<()> {
    let mut file = builder().tempfile_in(folder)?;
    file.write_all(&[0; 4096])?;
    file.as_file().sync_all()
}

/// What a manifest says, if there is one, and how long it is without a last line that a crash cut off.
pub(crate) fn read(manifest: &Path) -> Result<(Entries, u64), FolderError> {
    match fs::read_to_string(manifest) {
        Ok(text) => parse(&text).map_err(|(line, source)| FolderError::malformed(manifest, line, source)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Entries::new(), 0)),
        Err(error) => Err(FolderError::io(manifest, error)),
    }
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
