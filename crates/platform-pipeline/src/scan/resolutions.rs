//! Resolutions set by the user, for slides whose file has no plausible resolution.

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
pub(crate) struct Resolutions {
    /// The checksum and the resolution of each slide in the table, by its path.
    table: HashMap<PathBuf, (String, f64)>,
    default: Option<f64>,
}

/// The resolution of one slide: the checksum and the resolution in the table, and the default.
#[derive(Clone, Debug)]
pub(super) struct SlideResolution {
    table: Option<(String, f64)>,
    default: Option<f64>,
}

impl Resolutions {
    /// Reads the resolutions of `table`. `default` applies to all other slides.
    pub(super) fn new(table: Option<&SlideTable>, default: Option<f64>) -> Self {
        let rows = table.into_iter().flat_map(|table| table.rows().iter().map(move |row| (table.path_of(row), row)));
        let resolutions = rows.filter_map(|(path, row)| {
            let resolution = row.get(RESOLUTION).trim().parse().ok().filter(|value| PLAUSIBLE.contains(value))?;
            Some((location(&path), (row.get(CHECKSUM).to_owned(), resolution)))
        });
        Self { table: resolutions.collect(), default }
    }

    pub(super) fn of(&self, path: &Path) -> SlideResolution {
        SlideResolution { table: self.table.get(&location(path)).cloned(), default: self.default }
    }
}

impl SlideResolution {
    /// Returns the metadata of a slide from the cache, or reads the slide if the cache has no valid entry.
    pub(super) fn read(&self, path: &Path, cache: &SlideCache) -> Result<SlideMetadata, ReadError> {
        let read_error = |error| ReadError::of(&error, path);
        let snapshot = cache.snapshot(path);
        let cached = snapshot.as_ref().and_then(|snapshot| cache.get(snapshot));
        let (description, crc32c) = if let Some(cached) = cached {
            cached
        } else {
            let any_resolution = self.table.as_ref().map(|(_, resolution)| *resolution).or(self.default);
            let slide = read_with(path, &options(any_resolution)).map_err(read_error)?;
            if !snapshot.is_none_or(|snapshot| cache.put(snapshot, &slide)) {
                return Err(ReadError::Unusable("it changed while it was read".to_owned()));
            }
            (slide.description, slide.crc32c)
        };
        // The resolution in the table applies only if the file has the checksum in the table.
        let has_checksum = |checksum: &str| Crc32c::from(crc32c).to_string() == checksum;
        let table_resolution =
            self.table.as_ref().filter(|(checksum, _)| has_checksum(checksum)).map(|(_, resolution)| *resolution);
        SlideMetadata::of(path, description, crc32c, &options(table_resolution.or(self.default))).map_err(read_error)
    }
}

/// The reason why a slide was not read.
pub(super) enum ReadError {
    /// The slide is unusable.
    Unusable(String),
    /// This process has too few resources, such as file descriptors. The slide may be usable.
    NoResources(String),
}

impl ReadError {
    fn of(error: &slide_metadata::SlideError, path: &Path) -> Self {
        let causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
        let lacks_resources = causes.filter_map(|cause| cause.downcast_ref()).any(durable_fs::lacks_resources);
        let text = error_chain(error);
        if lacks_resources {
            return Self::NoResources(text);
        }
        // The path is removed from the start of the message, because the caller adds it.
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

    /// Runs itself in a child process, because the limit applies to the whole process.
    #[test]
    fn missing_file_descriptors_do_not_make_a_slide_unusable() {
        const CHILD: &str = "AIGNOSTICS_TEST_FEW_DESCRIPTORS";
        let name = "scan::resolutions::tests::missing_file_descriptors_do_not_make_a_slide_unusable";
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
