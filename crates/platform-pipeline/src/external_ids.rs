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
    /// The path relative to the slide folder, with `/`: the same on every machine.
    #[default]
    Relative,
    /// The file name without its extension.
    Stem,
    /// The absolute path, like the Python tool.
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

    /// Returns the id of a slide in the folder `root`, or the reason why it has none. Empty if a column contains the
    /// id.
    pub(crate) fn of(&self, root: &Path, path: &Path) -> Result<String, String> {
        let id = match self {
            Self::Relative => slashed(path.strip_prefix(root).unwrap_or(path)),
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

/// Returns the problem of an id with this many characters.
pub(crate) fn too_long(length: usize) -> String {
    format!(
        "its external id has {length} characters, and at most {MAX_ID_LENGTH} are allowed: \
         choose another by --external-id relative, stem or COLUMN"
    )
}

/// Returns a path with `/` on every system; `None` if it is not UTF-8.
pub(crate) fn slashed(path: &Path) -> Option<String> {
    let parts = path.components().map(|part| match part {
        Component::RootDir => Some(""),
        part => part.as_os_str().to_str(),
    });
    let parts: Option<Vec<_>> = parts.collect();
    Some(parts?.join("/"))
}

/// Returns the path of a file relative to a folder, with `..` where necessary; absolute on another drive.
pub(crate) fn relative(path: &Path, folder: &Path) -> Option<String> {
    let (path_parts, folder_parts): (Vec<_>, Vec<_>) = (path.components().collect(), folder.components().collect());
    if path_parts.first() != folder_parts.first() {
        return path.to_str().map(str::to_owned);
    }
    let common = path_parts.iter().zip(&folder_parts).take_while(|(one, other)| one == other).count();
    let up = folder_parts[common..].iter().map(|_| Component::ParentDir);
    slashed(&up.chain(path_parts[common..].iter().copied()).collect::<PathBuf>())
}

/// Returns a path with a canonical folder, so that different paths of one file are equal. The file itself may be a
/// link.
pub(crate) fn location(path: &Path) -> PathBuf {
    let folder = files::folder_of(path).canonicalize();
    match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_the_folder_of_the_slides_alone() {
        let (root, path) = (Path::new("/mnt/slides"), Path::new("/mnt/slides/case 1/a.svs"));
        assert_eq!(ExternalIds::Relative.of(root, path).unwrap(), "case 1/a.svs");
        assert_eq!(ExternalIds::Stem.of(root, path).unwrap(), "a");
        assert_eq!(ExternalIds::Absolute.of(root, path).unwrap(), "/mnt/slides/case 1/a.svs");
    }

    #[test]
    fn ids_that_the_platform_refuses_name_the_option() {
        let long = Path::new("/s").join("ä".repeat(256));
        let problem = ExternalIds::Relative.of(Path::new("/s"), &long).unwrap_err();
        assert!(problem.contains("256 characters") && problem.contains("--external-id"), "{problem}");
        let fits = Path::new("/s").join("ä".repeat(255));
        assert_eq!(ExternalIds::Relative.of(Path::new("/s"), &fits).unwrap().chars().count(), 255);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_name_the_option() {
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
