//! The folders that the tools may read.

use std::path::{Path, PathBuf};

use crate::error::ToolError;

/// The folders whose files the tools may read.
#[derive(Clone, Debug)]
pub(crate) struct Folders(Vec<PathBuf>);

impl Folders {
    /// Resolves all links in the paths of the folders.
    pub(crate) fn new(folders: impl IntoIterator<Item = PathBuf>) -> std::io::Result<Self> {
        folders.into_iter().map(|folder| folder.canonicalize()).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.iter()
    }

    /// Resolves all links in a path. Fails if it does not exist in one of the folders.
    pub(crate) fn resolve(&self, path: &str) -> Result<PathBuf, ToolError> {
        let requested_path = Path::new(path);
        let candidates =
            self.0.iter().map(|folder| folder.join(requested_path)).filter_map(|path| path.canonicalize().ok());
        let mut allowed = candidates.filter(|path| self.0.iter().any(|folder| path.starts_with(folder)));
        allowed.next().ok_or_else(|| {
            let folders = self.0.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
            ToolError::new(format!("'{path}' does not exist in the folders of this server: {folders}"))
                .with_hint("start the server with --folder DIR to allow another folder")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_outside_the_folders_are_refused() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(inside.path().join("a"), "").unwrap();
        std::fs::write(outside.path().join("b"), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(outside.path().join("b"), inside.path().join("link")).unwrap();
        let folders = Folders::new([inside.path().to_owned()]).unwrap();
        assert!(folders.resolve("a").is_ok() && folders.resolve(inside.path().join("a").to_str().unwrap()).is_ok());
        for path in ["link", "../b", "missing", outside.path().join("b").to_str().unwrap(), "/etc/passwd"] {
            assert!(folders.resolve(path).is_err(), "{path}");
        }
    }
}
