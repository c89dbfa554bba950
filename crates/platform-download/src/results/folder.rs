use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use durable_fs::{AtomicFile, Identity, LockFile, Locking, folder, positioned, regular};

use super::lines::{Line, Lines};
use super::manifest::ManifestEntry;
use super::sums::mark_partial;
use super::sweep::sweep;
use crate::error::FolderError;
use crate::names::name::safe_names;
use crate::names::target::Target;
use crate::shard::Shard;
use crate::transfer::blocking::blocking;
use crate::transfer::partial_file::{Reader, into_io_error, temporary};

/// A folder for verified files, and its `manifest.jsonl` with one line of JSON per file.
///
/// Open the folder before a request that costs money, because opening detects most errors. Only one process can have
/// the folder open, unless each opens a different [shard](Self::open_shard): a shard has its own lock and manifest.
///
/// A line is appended for each verified file; [`finish`](Self::finish) reduces the manifest to one line per file. The
/// entry of a deleted or modified file remains until an entry for a newer verified file replaces it, or
/// [`forget`](crate::forget()) removes it.
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
    shard: Shard,
    manifest_path: PathBuf,
    lines: Lines,
    /// The open manifest; `None` until it is first written, and after an error.
    manifest: Option<File>,
    /// The length of the manifest in bytes, without an incomplete last line.
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

/// The start of the name of a lock file, before the shard.
pub(crate) const LOCK_PREFIX: &str = ".aignostics";
/// The end of the name of a lock file, after the shard.
pub(crate) const LOCK_SUFFIX: &str = ".lock";
/// The first bytes of every manifest line. They distinguish an incomplete line from other content.
const LINE_START: &[u8] = b"{\"run\":";
/// The permissions of new files, before the umask is applied.
const FILE_MODE: u32 = 0o666;

impl FolderOptions {
    /// Creates the default options: a single shard (0/1), and a kernel lock, or a lease file on a file system without
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

    /// Sets the kind of the lock that excludes other processes.
    #[must_use]
    pub fn with_locking(mut self, locking: Locking) -> Self {
        self.locking = locking;
        self
    }

    /// Skips the check that the folder is writable. Use it to [clean](ResultFolder::clean) a folder on a full disk.
    #[must_use]
    pub fn without_write_checks(mut self) -> Self {
        self.skip_write_checks = true;
        self
    }

    /// Opens a folder, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// The same as [`ResultFolder::open`].
    pub async fn open(self, path: impl Into<PathBuf>) -> Result<ResultFolder, FolderError> {
        let path = path.into();
        let error_path = path.clone();
        let outcome = blocking(move || Ok(self.open_blocking(path))).await;
        outcome.unwrap_or_else(|error| Err(FolderError::io(&error_path, error)))
    }

    /// Opens a folder. Blocks the calling thread.
    pub(crate) fn open_blocking(self, path: PathBuf) -> Result<ResultFolder, FolderError> {
        let Self { shard, locking, skip_write_checks } = self;
        fs::create_dir_all(&path).map_err(|error| FolderError::io(&path, error))?;
        // The lock file is never deleted, so that all processes lock the same file.
        let lock_path = path.join(format!("{LOCK_PREFIX}{}{LOCK_SUFFIX}", shard.infix()));
        let mut options = OpenOptions::new();
        let file = regular::create(options.create(true).truncate(false).write(true), &lock_path, FILE_MODE, "open")?;
        let lock = LockFile::try_lock(file, lock_path, locking)?.ok_or_else(|| FolderError::locked(&path))?;
        let manifest_path = path.join(format!("manifest{}.jsonl", shard.infix()));
        if !skip_write_checks {
            sweep(&path, locking).map_err(|error| FolderError::io(&path, error))?;
            folder::probe(&path, &probe_name(shard))?;
        }
        let mut lines = Lines::default();
        let complete_len =
            read_manifest(&manifest_path, |entry, line| lines.insert(entry.file, &entry.origin.run, line))?;
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
    /// Opens a folder, and creates it if it does not exist. The entries of an existing manifest remain.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the folder is not writable, another process has it open, its manifest contains an invalid line,
    /// or the manifest or the lock file is a symbolic link. A last line that a crash truncated is not an error.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        FolderOptions::new().open(path).await
    }

    /// Opens a folder that several processes share, each with a different shard. The manifest of the
    /// shard is `manifest.INDEX-of-COUNT.jsonl`.
    ///
    /// # Errors
    ///
    /// The same as [`open`](Self::open). [`FolderError::is_locked`] if another process has the same shard open.
    pub async fn open_shard(path: impl Into<PathBuf>, shard: Shard) -> Result<Self, FolderError> {
        FolderOptions::new().with_shard(shard).open(path).await
    }

    /// Returns true if a folder has been opened as a result folder. Callers use it to avoid treating results as input.
    pub fn is_result_folder(path: &Path) -> bool {
        let is_lock = |name: &str| name.starts_with(LOCK_PREFIX) && name.ends_with(LOCK_SUFFIX);
        let mut entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().to_str().is_some_and(is_lock))
    }

    /// Returns the paths of all files in the manifests of `folder`, whether or not the files exist. Blocks the calling
    /// thread.
    pub fn listed_files(folder: &Path) -> Vec<PathBuf> {
        super::manifest::listed_files(folder)
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the manifest entry of `file`, a path relative to the folder, if a file of the recorded length exists
    /// there. Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be read.
    pub fn entry_if_present(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        Ok(self.entry(file)?.filter(|entry| entry.is_present_in(&self.path)))
    }

    /// Returns the kind of the lock that excludes other processes.
    pub fn locking(&self) -> Locking {
        self.locking
    }

    /// Returns the shard that the folder was opened for.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// Returns the manifest entry of `file`, a path relative to the folder, whether or not the file exists. Blocks the
    /// calling thread.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be read.
    pub fn entry(&self, file: &str) -> Result<Option<ManifestEntry>, FolderError> {
        self.lines.get(file).map(|line| self.read_entry(line)).transpose()
    }

    /// Returns the entries of the manifest, ordered by file path. Blocks the calling thread.
    pub fn entries(&self) -> impl Iterator<Item = Result<ManifestEntry, FolderError>> {
        self.lines.iter().map(|line| self.read_entry(line))
    }

    /// Returns the entries of a run, without reading the entries of other runs. Blocks the calling thread.
    pub fn entries_of(&self, run: &str) -> impl Iterator<Item = Result<ManifestEntry, FolderError>> {
        self.lines.of_run(run).map(|line| self.read_entry(line))
    }

    fn read_entry(&self, line: Line) -> Result<ManifestEntry, FolderError> {
        let text = match &self.manifest {
            Some(manifest) => line.read(manifest, &self.manifest_path),
            // The manifest is not open, for example after an error.
            None => regular::open(OpenOptions::new().read(true), &self.manifest_path, "read")
                .map_err(into_io_error)
                .and_then(|manifest| line.read(&manifest, &self.manifest_path)),
        };
        let entry = text.and_then(|text| Ok(serde_json::from_slice(&text)?));
        entry.map_err(|error| FolderError::io(&self.manifest_path, error))
    }

    /// Returns a target in the folder. The last of `names` is the file name; the others are names of subfolders.
    pub fn target(&self, names: impl IntoIterator<Item = impl Into<String>>) -> Target {
        Target::within(&self.path, names)
    }

    /// Checks that the file system has at least `needed` free bytes.
    ///
    /// # Errors
    ///
    /// [`FolderError::is_disk_full`]: there is less free space. Otherwise the free space cannot be determined.
    pub async fn check_free_space(&self, needed: u64) -> Result<(), FolderError> {
        let path = self.path.clone();
        let free = blocking(move || folder::free_space(&path).map_err(into_io_error)).await;
        match free.map_err(|error| FolderError::io(&self.path, error))? {
            Some(free) if free < needed => Err(FolderError::no_space(&self.path, needed, free)),
            _ => Ok(()),
        }
    }

    /// Creates a subfolder for each of `names`, encoded by [`safe_names`], and checks that it is writable.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: a subfolder cannot be created or written, or is a symbolic link. Links are rejected, because
    /// they could lead out of the folder.
    pub async fn create_subfolders(&self, names: &[&str]) -> Result<(), FolderError> {
        let names: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
        let targets: Vec<_> =
            safe_names(&names).into_iter().map(|name| self.target([name, "file".to_owned()])).collect();
        let temporary = probe_name(self.shard);
        let create = move || {
            for target in targets {
                let paths = target.prepare();
                if let Err(error) =
                    paths.and_then(|paths| folder::probe(&paths.folder, &temporary).map_err(into_io_error))
                {
                    let path = target.path();
                    return Ok(Err(FolderError::io(path.parent().unwrap_or(&path), error)));
                }
            }
            Ok(Ok(()))
        };
        blocking(create).await.unwrap_or_else(|error| Err(FolderError::io(&self.path, error)))
    }

    /// Appends an entry for a published file to the manifest, unless the manifest has an equivalent entry. If the entry
    /// has no SHA-256, an existing `SHA256SUMS` is marked as partial.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be written.
    pub async fn record(&mut self, entry: ManifestEntry) -> Result<(), FolderError> {
        self.lock.ensure_held()?;
        let (known_line, open_file) = (self.lines.get(&entry.file), self.manifest.take());
        let (path, complete_len) = (self.manifest_path.clone(), self.complete_len);
        let (error_path, folder, shard) = (path.clone(), self.path.clone(), self.shard);
        let append = move || {
            let mut manifest = open_file.map_or_else(|| open_manifest(&path, complete_len), Ok)?;
            if let Some(known_line) = known_line
                && let text = known_line.read(&manifest, &path)?
                && entry.is_covered_by(&serde_json::from_slice(&text)?)
            {
                return Ok((manifest, None));
            }
            if entry.sha256.is_none() {
                mark_partial(&folder, shard)?;
            }
            let line = entry.line();
            manifest.write_all(line.as_bytes())?;
            Ok((manifest, Some((entry.file, entry.origin.run, line.len()))))
        };
        let (manifest, added_line) = blocking(append).await.map_err(|error| FolderError::io(&error_path, error))?;
        self.manifest = Some(manifest);
        if let Some((file, run, bytes)) = added_line {
            self.lines.insert(file, &run, Line { offset: self.complete_len, bytes });
            self.complete_len += bytes as u64;
        }
        Ok(())
    }

    /// Makes the recorded entries durable, so that the caller can rely on them after a power failure.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the lock was lost, or the manifest cannot be written.
    pub async fn sync(&mut self) -> Result<(), FolderError> {
        self.lock.ensure_held()?;
        if self.complete_len == 0 {
            return Ok(());
        }
        // After an error, the manifest is closed, but its earlier entries may not be durable yet.
        let (open_file, complete_len) = (self.manifest.take(), self.complete_len);
        let (path, folder) = (self.manifest_path.clone(), self.path.clone());
        let sync = blocking(move || {
            let manifest = open_file.map_or_else(|| open_manifest(&path, complete_len), Ok)?;
            positioned::sync_data(&manifest, &path)?;
            folder::sync(&folder).map_err(into_io_error)?;
            Ok(manifest)
        });
        self.manifest = Some(sync.await.map_err(|error| FolderError::io(&self.manifest_path, error))?);
        Ok(())
    }

    /// Rewrites the manifest with one line per file, ordered by name, and returns its path.
    ///
    /// # Errors
    ///
    /// [`FolderError`]: the manifest cannot be written. The existing manifest is then unchanged.
    pub async fn finish(self) -> Result<PathBuf, FolderError> {
        let manifest = self.manifest_path.clone();
        let path = blocking(move || Ok(self.finish_blocking())).await;
        path.unwrap_or_else(|error| Err(FolderError::io(&manifest, error)))
    }

    /// Rewrites the manifest. Blocks the calling thread.
    pub(crate) fn finish_blocking(self) -> Result<PathBuf, FolderError> {
        self.lock.ensure_held()?;
        let hidden_path = self.path.join(format!(".manifest{}.jsonl", self.shard.infix()));
        let manifest = self.manifest.map_or_else(|| open_manifest(&self.manifest_path, self.complete_len), Ok);
        let manifest = manifest.map_err(|error| FolderError::io(&self.manifest_path, error))?;
        let (lines, path) = (self.lines, self.manifest_path.clone());
        AtomicFile::new(&self.manifest_path, temporary(&hidden_path)).with_mode(FILE_MODE).replace_with(
            move |new| {
                // Moves the old manifest into this closure, which closes it before the replacement: some versions of
                // Windows cannot replace an open file.
                let manifest = manifest;
                lines.iter().try_for_each(|line| new.write_all(&line.read(&manifest, &path)?))
            },
        )?;
        Ok(self.manifest_path)
    }

    /// Removes the entries of `files`, and returns the number of removed entries.
    pub(crate) fn remove_entries(&mut self, files: &BTreeSet<&str>) -> usize {
        self.lines.remove(files)
    }
}

/// Opens a manifest, and truncates it to `complete_len` bytes. Otherwise the next line would be appended to an
/// incomplete last line.
fn open_manifest(path: &Path, complete_len: u64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let manifest = regular::create(options.create(true).append(true).read(true), path, FILE_MODE, "write")
        .map_err(into_io_error)?;
    if manifest.metadata()?.len() != complete_len {
        manifest.set_len(complete_len)?;
    }
    Ok(manifest)
}

/// Returns the name of the file that is written to check that the folder is writable.
fn probe_name(shard: Shard) -> String {
    format!("{LOCK_PREFIX}{}.probe", shard.infix())
}

/// Calls `on_entry` for each complete line of a manifest. Returns the length of these lines in bytes, or 0 if the
/// manifest does not exist. A last line that a crash truncated is ignored.
pub(crate) fn read_manifest(
    manifest: &Path,
    mut on_entry: impl FnMut(ManifestEntry, Line),
) -> Result<u64, FolderError> {
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
                on_entry(entry, Line { offset: complete_len, bytes });
                complete_len += bytes as u64;
            }
            // A crash truncated the last line.
            Ok(_) => {}
            Err(_) if !is_complete && (text.starts_with(LINE_START) || LINE_START.starts_with(&text)) => {}
            Err(source) => return Err(FolderError::malformed(manifest, number, source)),
        }
    }
    Ok(complete_len)
}
