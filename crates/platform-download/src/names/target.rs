use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The target path of a file, with a trusted and an untrusted part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A trusted folder: symbolic links in its path are followed.
    root: PathBuf,
    /// The folders below it, and the name of the file.
    names: Vec<String>,
}

impl Target {
    /// Creates a target below `root`: all of `names` except the last are folders. Symbolic links below the root are not
    /// followed. Names must be encoded by [`escape`](crate::escape).
    pub fn within(root: impl Into<PathBuf>, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { root: root.into(), names: names.into_iter().map(Into::into).collect() }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> PathBuf {
        self.names.iter().fold(self.root.clone(), |path, name| path.join(name))
    }

    /// Returns the path relative to the root, with `/` between folders.
    pub fn relative(&self) -> String {
        self.names.join("/")
    }

    /// Returns the number of missing bytes of a file of this length, determined without reading: 0 if a file of this
    /// length exists, and without the content of a part.
    pub fn missing(&self, bytes: u64) -> u64 {
        let length = |path: PathBuf, of: fn(&fs::Metadata) -> u64| {
            path.symlink_metadata().ok().filter(fs::Metadata::is_file).map(|found| of(&found))
        };
        if length(self.path(), fs::Metadata::len) == Some(bytes) {
            return 0;
        }
        let Some((name, folders)) = self.names.split_last() else { return bytes };
        let folder = folders.iter().fold(self.root.clone(), |folder, below| folder.join(below));
        let part = FilePaths::new(self.path(), folder, name).part;
        bytes.saturating_sub(length(part, allocated).unwrap_or_default())
    }

    /// Creates the folders of the file. Blocks.
    pub(crate) fn prepare(&self) -> io::Result<FilePaths> {
        let path = self.path();
        let plain = |name: &String| !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']);
        let Some((name, folders)) = self.names.split_last().filter(|_| self.names.iter().all(plain)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "its name is not a valid file name"));
        };
        fs::create_dir_all(&self.root)?;
        let mut folder = self.root.clone();
        for below in folders {
            folder.push(below);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => created?,
            }
            if fs::symlink_metadata(&folder)?.is_symlink() {
                let message = format!("{} is a symbolic link, which is not followed", folder.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
            }
        }
        Ok(FilePaths::new(path, folder, name))
    }
}

impl From<&Path> for Target {
    /// Creates a target from a completely trusted path.
    fn from(path: &Path) -> Self {
        // A bare name has an empty parent.
        let root = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self { root: root.to_owned(), names: name.into_iter().collect() }
    }
}

/// The files of a target. All others are hidden files next to it, so that no result can have their names.
#[derive(Clone, Debug)]
pub(crate) struct FilePaths {
    pub(crate) target: PathBuf,
    pub(crate) folder: PathBuf,
    /// The content so far, locked by the process that writes it.
    pub(crate) part: PathBuf,
    /// The state of the complete pieces.
    pub(crate) state: PathBuf,
    /// Content that was incorrect twice.
    pub(crate) corrupt: PathBuf,
    /// The former file of that name, until the new one is verified.
    pub(crate) former: PathBuf,
}

impl FilePaths {
    fn new(target: PathBuf, folder: PathBuf, name: &str) -> Self {
        let beside = |ending: &str| folder.join(OsString::from(format!(".{name}.{ending}")));
        let [part, state, corrupt, former] = ["part", "state", "corrupt", "former"].map(beside);
        Self { target, folder, part, state, corrupt, former }
    }
}

/// Removes a file, if it exists.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the number of bytes allocated on disk. Missing ranges of a part are holes, unless their space is reserved.
pub(crate) fn allocated(file: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        // POSIX, `sys/stat.h`: counted in blocks of 512 bytes, whatever the disk uses.
        std::os::unix::fs::MetadataExt::blocks(file).saturating_mul(512)
    }
    #[cfg(not(unix))]
    {
        // The whole file may be a hole.
        let _ = file;
        0
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn received_ranges_need_no_space_but_holes_do() {
        const MIB: u64 = 1024 * 1024;
        let folder = TempDir::new().unwrap();
        let target = Target::within(folder.path(), ["item", "file"]);
        assert_eq!(target.missing(8 * MIB), 8 * MIB);
        let paths = target.prepare().unwrap();
        let mut part = File::create(&paths.part).unwrap();
        part.write_all(&vec![7; 3 << 20]).unwrap();
        part.set_len(8 * MIB).unwrap();
        part.sync_all().unwrap();
        let left = target.missing(8 * MIB);
        assert!((4 * MIB..=5 * MIB).contains(&left), "{left}");
        fs::rename(&paths.part, &paths.target).unwrap();
        assert_eq!((target.missing(8 * MIB), target.missing(9 * MIB)), (0, 9 * MIB));
    }
}
