use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::files;
use crate::table::MAX_ID_LENGTH;

/// The source of the external ids of slides.
///
/// ```
/// use platform_pipeline::ExternalIds;
///
/// assert_eq!("stem".parse(), Ok(ExternalIds::Stem));
/// assert_eq!("case_id".parse(), Ok(ExternalIds::Column("case_id".to_owned())));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExternalIds {
    /// The path relative to the slide folder, with `/` as the separator on every system.
    #[default]
    Relative,
    /// The file name without its extension.
    Stem,
    /// The absolute path, as in the Python tool.
    Absolute,
    /// The value of a column of the table.
    Column(String),
}

impl FromStr for ExternalIds {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "relative" => Self::Relative,
            "stem" => Self::Stem,
            "absolute" => Self::Absolute,
            column => Self::Column(column.to_owned()),
        })
    }
}

impl ExternalIds {
    fn name(&self) -> &str {
        match self {
            Self::Relative => "relative",
            Self::Stem => "stem",
            Self::Absolute => "absolute",
            Self::Column(column) => column,
        }
    }

    /// Returns the id of a slide in the folder `root`, or the reason why no valid id can be derived. For
    /// [`Column`](Self::Column), the id is empty until it is set from the table.
    pub(crate) fn of(&self, root: &Path, path: &Path) -> Result<String, String> {
        let id = match self {
            Self::Relative => with_slashes(path.strip_prefix(root).unwrap_or(path)),
            Self::Stem => path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned),
            Self::Absolute => path.to_str().map(str::to_owned),
            Self::Column(_) => Some(String::new()),
        };
        let name = self.name();
        let id = id.ok_or_else(|| {
            format!(
                "its name is not UTF-8, which --external-id {name} and the table need: rename the file or its folder"
            )
        })?;
        match id.chars().count() {
            length if length > MAX_ID_LENGTH => Err(too_long(length)),
            _ => Ok(id),
        }
    }
}

/// Returns the error text for an id with `length` characters.
pub(crate) fn too_long(length: usize) -> String {
    format!(
        "its external id has {length} characters, and at most {MAX_ID_LENGTH} are allowed: \
         choose another by --external-id relative, stem or COLUMN"
    )
}

/// Returns a path with `/` as the separator on every system. Returns `None` if the path is not UTF-8.
pub(crate) fn with_slashes(path: &Path) -> Option<String> {
    let parts = path.components().map(|part| match part {
        Component::RootDir => Some(""),
        part => part.as_os_str().to_str(),
    });
    let parts: Option<Vec<_>> = parts.collect();
    Some(parts?.join("/"))
}

/// Returns the path of a file relative to a folder, with `..` where necessary. If the file is on another drive, returns
/// its absolute path. Returns `None` if the path is not UTF-8.
pub(crate) fn relative(path: &Path, folder: &Path) -> Option<String> {
    let (path_parts, folder_parts): (Vec<_>, Vec<_>) = (path.components().collect(), folder.components().collect());
    if path_parts.first() != folder_parts.first() {
        return path.to_str().map(str::to_owned);
    }
    let common = path_parts.iter().zip(&folder_parts).take_while(|(left, right)| left == right).count();
    let parents = folder_parts[common..].iter().map(|_| Component::ParentDir);
    with_slashes(&parents.chain(path_parts[common..].iter().copied()).collect::<PathBuf>())
}

/// Replaces the folder of a path with its canonical path, so that paths of the same file are equal. A symbolic link
/// at `path` itself is not resolved.
pub(crate) fn location(path: &Path) -> PathBuf {
    let folder = dunce::canonicalize(files::folder_of(path));
    match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_ids_are_derived_from_the_path_of_the_slide() {
        let (root, path) = (Path::new("/mnt/slides"), Path::new("/mnt/slides/case 1/a.svs"));
        assert_eq!(ExternalIds::Relative.of(root, path).unwrap(), "case 1/a.svs");
        assert_eq!(ExternalIds::Stem.of(root, path).unwrap(), "a");
        assert_eq!(ExternalIds::Absolute.of(root, path).unwrap(), "/mnt/slides/case 1/a.svs");
    }

    #[test]
    fn too_long_id_is_an_error_that_names_the_option() {
        let long_path = Path::new("/s").join("ä".repeat(256));
        let problem = ExternalIds::Relative.of(Path::new("/s"), &long_path).unwrap_err();
        assert!(problem.contains("256 characters") && problem.contains("--external-id"), "{problem}");
        let longest_valid_path = Path::new("/s").join("ä".repeat(255));
        assert_eq!(ExternalIds::Relative.of(Path::new("/s"), &longest_valid_path).unwrap().chars().count(), 255);
    }

    #[cfg(unix)]
    #[test]
    fn file_name_that_is_not_utf8_is_an_error_that_names_the_option() {
        use std::os::unix::ffi::OsStrExt;

        let path = Path::new("/s").join(std::ffi::OsStr::from_bytes(b"M\xfcller.svs"));
        for ids in [ExternalIds::Relative, ExternalIds::Stem, ExternalIds::Absolute] {
            assert!(ids.of(Path::new("/s"), &path).unwrap_err().contains("--external-id"));
        }
    }

    #[test]
    fn files_are_relative_to_the_table() {
        let relative = |path, folder| relative(Path::new(path), Path::new(folder)).unwrap();
        assert_eq!(relative("/study/slides/a.svs", "/study/work"), "../slides/a.svs");
        assert_eq!(relative("/study/a.svs", "/study"), "a.svs");
        assert_eq!(relative("/mnt/a.svs", "/study"), "../mnt/a.svs");
    }
}
