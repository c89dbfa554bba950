use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::name::is_device;

/// The path of a file to write: a trusted root folder, and untrusted names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A trusted folder: symbolic links in its path are followed.
    root: PathBuf,
    /// The names of the folders below the root, and of the file.
    names: Vec<String>,
}

impl Target {
    /// Creates a target below the folder `root`. The last of `names` is the file name; the others are folder names.
    /// Symbolic links below the root are not followed. Names must be encoded by [`escape`](crate::escape).
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

    /// Returns the number of bytes that must still be downloaded for a file of `bytes` bytes. It is 0 if a file of this
    /// length exists. The bytes in a partial file are subtracted. No content is read.
    pub fn missing(&self, bytes: u64) -> u64 {
        let file_size = |path: PathBuf, size: fn(&fs::Metadata) -> u64| {
            path.symlink_metadata().ok().filter(fs::Metadata::is_file).map(|metadata| size(&metadata))
        };
        if file_size(self.path(), fs::Metadata::len) == Some(bytes) {
            return 0;
        }
        let Some((name, folders)) = self.names.split_last() else { return bytes };
        let folder = folders.iter().fold(self.root.clone(), |folder, name| folder.join(name));
        let part = FilePaths::new(self.path(), folder, name).part;
        bytes.saturating_sub(file_size(part, allocated).unwrap_or_default())
    }

    /// Creates the folders of the file. Blocks the calling thread.
    pub(crate) fn prepare(&self) -> io::Result<FilePaths> {
        let path = self.path();
        let is_valid = |name: &String| is_name(name, cfg!(windows));
        let Some((name, folders)) = self.names.split_last().filter(|_| self.names.iter().all(is_valid)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "its name is not a valid file name"));
        };
        fs::create_dir_all(&self.root)?;
        let mut folder = self.root.clone();
        for subfolder in folders {
            folder.push(subfolder);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                outcome => outcome?,
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
    /// Creates a target from a trusted path: symbolic links in it are followed.
    fn from(path: &Path) -> Self {
        // The parent of a file name without a folder is empty.
        let root = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self { root: root.to_owned(), names: name.into_iter().collect() }
    }
}

/// The paths of a target and of its auxiliary files. The auxiliary files are hidden files next to the target. Results
/// never have these names, because results are never hidden.
#[derive(Clone, Debug)]
pub(crate) struct FilePaths {
    pub(crate) target: PathBuf,
    pub(crate) folder: PathBuf,
    /// The partial file, with the content that was downloaded so far. It is locked by the process that writes it.
    pub(crate) part: PathBuf,
    /// The list of the complete ranges of the partial file.
    pub(crate) state: PathBuf,
    /// Content that had a wrong checksum in two downloads.
    pub(crate) corrupt: PathBuf,
    /// The previous file at the target, until the new one is verified.
    pub(crate) former: PathBuf,
}

impl FilePaths {
    fn new(target: PathBuf, folder: PathBuf, name: &str) -> Self {
        let hidden_path = |extension: &str| folder.join(OsString::from(format!(".{name}.{extension}")));
        let [part, state, corrupt, former] = ["part", "state", "corrupt", "former"].map(hidden_path);
        Self { target, folder, part, state, corrupt, former }
    }
}

/// Returns true for the name of one file or folder. On Windows, `\` separates folders, `:` follows a drive or precedes
/// a stream, names such as `NUL` are devices, and dots and spaces at the end are ignored.
fn is_name(name: &str, on_windows: bool) -> bool {
    let is_single_name = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
    is_single_name && !(on_windows && (name.contains(['\\', ':']) || name.ends_with(['.', ' ']) || is_device(name)))
}

/// Removes a file if it exists.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the number of bytes allocated on disk. The missing ranges of a partial file are holes, unless the file
/// system has reserved their space.
pub(crate) fn allocated(file: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        // The unit of `st_blocks` is 512 bytes, independent of the file system (Linux and macOS, `stat(2)`).
        std::os::unix::fs::MetadataExt::blocks(file).saturating_mul(512)
    }
    #[cfg(not(unix))]
    {
        // Unknown on this system: the whole file may be a hole.
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
    fn name_of_another_folder_drive_or_device_is_refused() {
        for name in ["", ".", "..", "a/b", "a\0"] {
            assert!(!is_name(name, false) && !is_name(name, true), "{name:?}");
        }
        for name in ["..\\a", "\\\\host\\share", "C:", "C:a", "a:stream", "NUL", "con.txt", "a.", "a "] {
            assert!(!is_name(name, true), "{name:?}");
            assert!(is_name(name, false), "{name:?}");
            assert!(is_name(&crate::escape(name), true), "{name:?}");
        }
        let folder = TempDir::new().unwrap();
        let target = |name: &str| Target::within(folder.path().join("results"), [name, "file"]);
        assert_eq!(target("..").prepare().unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(target("..\\..").prepare().is_err(), cfg!(windows));
    }

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
        let missing_bytes = target.missing(8 * MIB);
        assert!((4 * MIB..=5 * MIB).contains(&missing_bytes), "{missing_bytes}");
        fs::rename(&paths.part, &paths.target).unwrap();
        assert_eq!((target.missing(8 * MIB), target.missing(9 * MIB)), (0, 9 * MIB));
    }
}
