//! Resolutions stated by the user, for slides that have no plausible one themselves.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use auth_core::error_chain;
use platform_download::Crc32c;
use slide_metadata::{PLAUSIBLE, ReadOptions, SlideMetadata, read_with};

use super::cache::SlideCache;
use crate::external_ids::location;
use crate::table::{CHECKSUM, RESOLUTION, SlideTable};

/// The resolutions in a table, and a default for all other slides.
#[derive(Debug)]
pub(crate) struct Stated {
    /// The checksum and the resolution of each slide in the table.
    table: HashMap<PathBuf, (String, f64)>,
    others: Option<f64>,
}

/// The resolutions stated for one slide.
#[derive(Clone, Debug)]
pub(super) struct StatedResolution {
    table: Option<(String, f64)>,
    others: Option<f64>,
}

impl Stated {
    /// Takes the resolutions of `table`; `others` is the default for other slides.
    pub(super) fn new(table: Option<&SlideTable>, others: Option<f64>) -> Self {
        let rows = table.into_iter().flat_map(|table| table.rows().iter().map(move |row| (table.path_of(row), row)));
        let stated = rows.filter_map(|(path, row)| {
            let resolution = row.get(RESOLUTION).trim().parse().ok().filter(|value| PLAUSIBLE.contains(value))?;
            Some((location(&path), (row.get(CHECKSUM).to_owned(), resolution)))
        });
        Self { table: stated.collect(), others }
    }

    /// Returns those of the slide at `path`.
    pub(super) fn of(&self, path: &Path) -> StatedResolution {
        StatedResolution { table: self.table.get(&location(path)).cloned(), others: self.others }
    }
}

impl StatedResolution {
    /// Reads a slide, or returns it from the cache if it is unchanged.
    pub(super) fn read(&self, path: &Path, cache: &SlideCache) -> Result<SlideMetadata, ReadError> {
        let failed = |error| ReadError::of(&error, path);
        let subject = cache.subject(path);
        let known = subject.as_ref().and_then(|subject| cache.get(subject));
        let (description, crc32c) = if let Some(known) = known {
            known
        } else {
            let some = self.table.as_ref().map(|(_, resolution)| *resolution).or(self.others);
            let slide = read_with(path, &options(some)).map_err(failed)?;
            if !subject.is_none_or(|subject| cache.put(subject, &slide)) {
                return Err(ReadError::Unusable("it changed while it was read".to_owned()));
            }
            (slide.description, slide.crc32c)
        };
        // The table applies only to the file with its checksum.
        let is_same = |checksum: &str| Crc32c::from(crc32c).to_string() == checksum;
        let of_table = self.table.as_ref().filter(|(checksum, _)| is_same(checksum)).map(|(_, resolution)| *resolution);
        SlideMetadata::of(path, description, crc32c, &options(of_table.or(self.others))).map_err(failed)
    }
}

/// The reason why a slide was not read.
pub(super) enum ReadError {
    /// The slide is unusable.
    Unusable(String),
    /// This process has too few resources, whatever the slide.
    NoResources(String),
}

impl ReadError {
    fn of(error: &slide_metadata::SlideError, path: &Path) -> Self {
        let causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
        let is_lacking = causes.filter_map(|cause| cause.downcast_ref()).any(durable_fs::lacks_resources);
        let text = error_chain(error);
        if is_lacking {
            return Self::NoResources(text);
        }
        // The message starts with the path.
        Self::Unusable(text.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&text).to_owned())
    }
}

fn options(resolution: Option<f64>) -> ReadOptions {
    resolution.into_iter().fold(ReadOptions::default(), ReadOptions::with_resolution)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::*;

    /// The limit applies to a whole process, so that the test runs itself again.
    #[test]
    fn missing_file_descriptors_do_not_make_a_slide_unusable() {
        const CHILD: &str = "AIGNOSTICS_TEST_FEW_DESCRIPTORS";
        let name = "scan::stated::tests::missing_file_descriptors_do_not_make_a_slide_unusable";
        if std::env::var_os(CHILD).is_none() {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let output = child.args([name, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        let slide = tempfile::NamedTempFile::with_suffix(".tiff").unwrap();
        let read = || ReadError::of(&read_with(slide.path(), &options(None)).unwrap_err(), slide.path());
        assert!(matches!(read(), ReadError::Unusable(_)), "an empty file");
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: Some(3) }).unwrap();
        assert!(matches!(read(), ReadError::NoResources(_)));
    }
}
