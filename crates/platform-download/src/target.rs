use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a file is to be, and what may lie on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A folder that is what its owner wants it to be: symbolic links on the way to it are followed.
    root: PathBuf,
    /// The folders below, and the name of the file.
    names: Vec<String>,
}

impl Target {
    /// A file below `root`, in a folder for each of `names` but the last, which is the name of the file. Nothing below the
    /// root is reached through a symbolic link. Names are made by [`escape`](crate::escape).
    pub fn within(root: impl Into<PathBuf>, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { root: root.into(), names: names.into_iter().map(Into::into).collect() }
    }

    /// Where the file will be.
    pub fn path(&self) -> PathBuf {
        self.names.iter().fold(self.root.clone(), |path, name| path.join(name))
    }

    /// Where it lies below the root, with `/` between folders.
    pub fn relative(&self) -> String {
        self.names.join("/")
    }

    /// How many bytes of a file of this length have still to be written, as far as can be known without reading any: none if
    /// one of this length is there, and not those that have come of it.
    pub fn missing(&self, bytes: u64) -> u64 {
        let length = |path: PathBuf, of: fn(&fs::Metadata) -> u64| {
            path.symlink_metadata().ok().filter(fs::Metadata::is_file).map(|found| of(&found))
        };
        if length(self.path(), fs::Metadata::len) == Some(bytes) {
            return 0;
        }
        let Some((name, folders)) = self.names.split_last() else { return bytes };
        let folder = folders.iter().fold(self.root.clone(), |folder, below| folder.join(below));
        let part = Places::new(self.path(), folder, name).part;
        bytes.saturating_sub(length(part, written).unwrap_or_default())
    }

    /// Creates the folders of the file. It blocks.
    pub(crate) fn prepare(&self) -> io::Result<Places> {
        let path = self.path();
        let plain = |name: &String| !matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']);
        let Some((name, folders)) = self.names.split_last().filter(|_| self.names.iter().all(plain)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no name that a file can have"));
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
        Ok(Places::new(path, folder, name))
    }
}

impl From<&Path> for Target {
    /// A file at a path, all of which is trusted.
    fn from(path: &Path) -> Self {
        // A bare name has an empty parent.
        let root = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self { root: root.to_owned(), names: name.into_iter().collect() }
    }
}

/// The files that belong to a target: hidden ones beside it, so that no result can have such a name.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) target: PathBuf,
    pub(crate) folder: PathBuf,
    /// What has come of it. Locked by the one process that writes it.
    pub(crate) part: PathBuf,
    /// Which parts of that are good.
    pub(crate) state: PathBuf,
    /// What came twice and was not what it should be.
    pub(crate) corrupt: PathBuf,
}

impl Places {
    fn new(target: PathBuf, folder: PathBuf, name: &str) -> Self {
        let beside = |ending: &str| folder.join(OsString::from(format!(".{name}.{ending}")));
        Self { part: beside("part"), state: beside("state"), corrupt: beside("corrupt"), target, folder }
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How many bytes of a file lie on the disk: what has not come yet of a part is a hole in it.
fn written(file: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    {
        // POSIX, `sys/stat.h`: whatever the disk has, these are counted in blocks of 512 bytes here.
        std::os::unix::fs::MetadataExt::blocks(file).saturating_mul(512)
    }
    #[cfg(not(unix))]
    {
        // It may be all holes.
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
    fn what_has_come_needs_no_room_and_a_hole_does() {
        const MIB: u64 = 1024 * 1024;
        let folder = TempDir::new().unwrap();
        let target = Target::within(folder.path(), ["item", "file"]);
        assert_eq!(target.missing(8 * MIB), 8 * MIB);
        let places = target.prepare().unwrap();
        let mut part = File::create(&places.part).unwrap();
        part.write_all(&vec![7; 3 << 20]).unwrap();
        part.set_len(8 * MIB).unwrap();
        part.sync_all().unwrap();
        let left = target.missing(8 * MIB);
        assert!((4 * MIB..=5 * MIB).contains(&left), "{left}");
        fs::rename(&places.part, &places.target).unwrap();
        assert_eq!((target.missing(8 * MIB), target.missing(9 * MIB)), (0, 9 * MIB));
    }
}
