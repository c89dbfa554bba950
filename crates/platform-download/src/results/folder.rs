use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use durable_fs::{AtomicFile, Identity, LockFile, Locking, folder, regular};

use super::manifest::ManifestEntry;
use super::sums::mark_partial;
use super::sweep::sweep;
use crate::error::FolderError;
use crate::names::name::safe_names;
use crate::names::target::Target;
use crate::shard::Shard;
use crate::transfer::blocking::blocking;
use crate::transfer::partial_file::{Reader, plain, temporary};

/// A folder for verified files, and its `manifest.jsonl` with one line of JSON per file.
///
/// Open it before anything is billed: opening detects most errors. Only one process can have it open, unless each opens
/// its own [shard](Self::open_shard), which has its own lock and manifest.
///
/// Lines are appended as files are verified; [`finish`](Self::finish) leaves one line per file. The entry of a deleted
/// or modified file is kept until a newer verified file replaces it or [`forget`](crate::forget()) removes it.
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
    shard: Shard,
    manifest_path: PathBuf,
    /// The last line of each file. The entries themselves stay on the disk: a folder can have very many.
    lines: Lines,
    /// Opened when it is needed.
    manifest: Option<File>,
    /// The length of the complete lines of the manifest, in bytes.
    complete_len: u64,
    locking: Locking,
    lock: LockFile,
}

/// Options for opening a [`ResultFolder`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FolderOptions {
    shard: Shard,
    locking: Locking,
    skip_write_checks: bool,
}

/// The prefix and suffix of the lock file name; the shard is between them.
pub(crate) const LOCK: (&str, &str) = (".aignostics", ".lock");
/// The first bytes of every line of a manifest.
const LINE_START: &[u8] = b"{\"run\":";
/// The mode of new files; the umask applies.
const MODE: u32 = 0o666;

/// A line of a manifest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    at: u64,
    bytes: usize,
}

type Lines = BTreeMap<Box<str>, Line>;

impl FolderOptions {
    /// Creates the default options: a single shard (1 of 1), and a kernel lock, or a lease where the file system has no
    /// locks.
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
        self.skip_write_checks = true;
        self
    }

    /// Opens a folder, which is created if necessary.
    ///
    /// # Errors
    ///
    /// The same as [`ResultFolder::open`].
    pub async fn open(self, path: impl Into<PathBuf>) -> Result<ResultFolder, FolderError> {
        let path = path.into();
        let error_path = path.clone();
        let opened = blocking(move || Ok(self.open_now(path))).await;
        opened.unwrap_or_else(|error| Err(FolderError::io(&error_path, error)))
    }

    /// Opens a folder. Blocks.
    pub(crate) fn open_now(self, path: PathBuf) -> Result<ResultFolder, FolderError> {
        let Self { shard, locking, skip_write_checks } = self;
        fs::create_dir_all(&path).map_err(|error| FolderError::io(&path, error))?;
        // Never deleted, so that all processes lock the same file.
        let lock_path = path.join(format!("{}{}{}", LOCK.0, shard.infix(), LOCK.1));
        let mut options = OpenOptions::new();
        let file = regular::create(options.create(true).truncate(false).write(true), &lock_path, MODE, "open")?;
        let lock = LockFile::try_lock(file, lock_path, locking)?.ok_or_else(|| FolderError::locked(&path))?;
        let manifest_path = path.join(format!("manifest{}.jsonl", shard.infix()));
        if !skip_write_checks {
            sweep(&path, locking).map_err(|error| FolderError::io(&path, error))?;
            folder::probe(&path, &probe(shard))?;
        }
        let mut lines = Lines::new();
        let complete_len = read(&manifest_path, |entry, line| {
            lines.insert(entry.file.into(), line);
        })?;
        // Opens an existing manifest for writing now, so that a missing permission is found before the first download.
        let manifest = if complete_len > 0 {
            Some(open_manifest(&manifest_path, complete_len).map_err(|error| FolderError::io(&manifest_path, error))?)
        } else {
            None
        };
        Ok(ResultFolder { path, shard, manifest_path, lines, manifest, complete_len, locking, lock })
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
    /// The errors of [`open`](Self::open). A shard counts as locked while another process has the same shard open.
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
        super::manifest::listed(folder)
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the entry of the manifest for a file, if the file is still in the folder. Blocks.
    ///
    /// # Errors
    ///
    /// Those of [`recorded`](Self::recorded).
    pub fn present(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        Ok(self.recorded(file)?.filter(|entry| entry.is_present_in(&self.path)))
    }

    /// Returns the kind of lock against other processes.
    pub fn locking(&self) -> Locking {
        self.locking
    }

    /// Returns the shard that it was opened for.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Returns what the manifest states of a file, by its path relative to the folder. Blocks.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be read.
    pub fn recorded(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        self.lines.get(file).map(|line| self.entry(*line)).transpose()
    }

    /// Returns the entries of the manifest, in the order of their files. Blocks.
    pub fn entries(&self) -> impl Iterator<Item = Result<ManifestEntry, FolderError>> {
        self.lines.values().map(|line| self.entry(*line))
    }

    fn entry(&self, line: Line) -> Result<ManifestEntry, FolderError> {
        let text = match &self.manifest {
            Some(manifest) => line.read(manifest, &self.manifest_path),
            // It is closed after an error.
            None => regular::open(OpenOptions::new().read(true), &self.manifest_path, "read")
                .map_err(plain)
                .and_then(|manifest| line.read(&manifest, &self.manifest_path)),
        };
        let entry = text.and_then(|text| Ok(serde_json::from_slice(&text)?));
        entry.map_err(|error| FolderError::io(&self.manifest_path, error))
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
        let free = blocking(move || folder::free_space(&path).map_err(plain)).await;
        match free.map_err(|error| FolderError::io(&self.path, error))? {
            Some(free) if free < needed => Err(FolderError::no_space(&self.path, needed, free)),
            _ => Ok(()),
        }
    }

    /// Creates one subfolder for each of `names`, encoded by [`safe_names`], and checks that it is writable.
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
                if let Err(error) = prepared.and_then(|paths| folder::probe(&paths.folder, &temporary).map_err(plain)) {
                    let path = target.path();
                    return Ok(Err(FolderError::io(path.parent().unwrap_or(&path), error)));
                }
            }
            Ok(Ok(()))
        };
        blocking(create).await.unwrap_or_else(|error| Err(FolderError::io(&self.path, error)))
    }

    /// Records a published file, unless the manifest has an equivalent entry. An existing `SHA256SUMS` is marked as partial
    /// if the file has no SHA-256.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be written.
    pub async fn record(&mut self, entry: ManifestEntry) -> Result<(), FolderError> {
        self.lock.ensure_held()?;
        let (known_line, open) = (self.lines.get(entry.file.as_str()).copied(), self.manifest.take());
        let (path, complete_len) = (self.manifest_path.clone(), self.complete_len);
        let (error_path, folder, shard) = (path.clone(), self.path.clone(), self.shard);
        let append = move || {
            let mut manifest = open.map_or_else(|| open_manifest(&path, complete_len), Ok)?;
            if let Some(known_line) = known_line
                && let text = known_line.read(&manifest, &path)?
                && entry.is_known_by(&serde_json::from_slice(&text)?)
            {
                return Ok((manifest, None));
            }
            if entry.sha256.is_none() {
                mark_partial(&folder, shard)?;
            }
            let line = entry.line();
            manifest.write_all(line.as_bytes())?;
            Ok((manifest, Some((entry.file, line.len()))))
        };
        let (manifest, added) = blocking(append).await.map_err(|error| FolderError::io(&error_path, error))?;
        self.manifest = Some(manifest);
        if let Some((file, bytes)) = added {
            self.lines.insert(file.into(), Line { at: self.complete_len, bytes });
            self.complete_len += bytes as u64;
        }
        Ok(())
    }

    /// Rewrites the manifest with one line per file, ordered by name, and returns its path.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be written. The existing manifest is then unchanged.
    pub async fn finish(self) -> Result<PathBuf, FolderError> {
        let manifest = self.manifest_path.clone();
        let rewritten = blocking(move || Ok(self.finish_now())).await;
        rewritten.unwrap_or_else(|error| Err(FolderError::io(&manifest, error)))
    }

    /// Rewrites the manifest. Blocks.
    pub(crate) fn finish_now(self) -> Result<PathBuf, FolderError> {
        self.lock.ensure_held()?;
        let hidden = self.path.join(format!(".manifest{}.jsonl", self.shard.infix()));
        let open = self.manifest.map_or_else(|| open_manifest(&self.manifest_path, self.complete_len), Ok);
        let manifest = open.map_err(|error| FolderError::io(&self.manifest_path, error))?;
        AtomicFile::new(&self.manifest_path, temporary(&hidden)).with_mode(MODE).replace_with(|new| {
            let mut lines = self.lines.values();
            lines.try_for_each(|line| new.write_all(&line.read(&manifest, &self.manifest_path)?))
        })?;
        Ok(self.manifest_path)
    }

    /// Removes entries, and returns their number.
    pub(crate) fn remove_entries(&mut self, files: &BTreeSet<&str>) -> usize {
        let before = self.lines.len();
        self.lines.retain(|file, _| !files.contains(&**file));
        before - self.lines.len()
    }
}

impl Line {
    /// Reads it from the manifest.
    fn read(self, manifest: &File, path: &Path) -> io::Result<Vec<u8>> {
        let mut text = vec![0; self.bytes];
        Reader::from(manifest, path, self.at).read_exact(&mut text)?;
        Ok(text)
    }
}

/// Opens a manifest, and truncates it to `complete_len` bytes: an appended line would otherwise be joined to an
/// incomplete last line.
fn open_manifest(path: &Path, complete_len: u64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let manifest = regular::create(options.create(true).append(true).read(true), path, MODE, "write").map_err(plain)?;
    if manifest.metadata()?.len() != complete_len {
        manifest.set_len(complete_len)?;
    }
    Ok(manifest)
}

/// Returns the name of the file that is written to check that the folder is writable.
fn probe(shard: Shard) -> String {
    format!("{}{}.probe", LOCK.0, shard.infix())
}

/// Reads a manifest, if there is one, line by line. Returns its length without a last line that a crash cut off.
pub(crate) fn read(manifest: &Path, mut each: impl FnMut(ManifestEntry, Line)) -> Result<u64, FolderError> {
    let Some((file, _)) = Identity::open(manifest)? else { return Ok(0) };
    let mut reader = BufReader::new(Reader::new(&file, manifest));
    let (mut complete_len, mut text) = (0, Vec::new());
    for number in 1.. {
        text.clear();
        let bytes = reader.read_until(b'\n', &mut text).map_err(|error| FolderError::io(manifest, error))?;
        let is_complete = text.ends_with(b"\n");
        match serde_json::from_slice::<ManifestEntry>(&text) {
            _ if bytes == 0 => break,
            Ok(entry) if is_complete => {
                each(entry, Line { at: complete_len, bytes });
                complete_len += bytes as u64;
            }
            // A last line without its newline was cut off by a crash: ignored.
            Ok(_) => {}
            Err(_) if !is_complete && (text.starts_with(LINE_START) || LINE_START.starts_with(&text)) => {}
            Err(source) => return Err(FolderError::malformed(manifest, number, source)),
        }
    }
    Ok(complete_len)
}
