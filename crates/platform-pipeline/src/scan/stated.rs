//! Resolutions that are stated by hand, for slides that have no plausible one themselves.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use platform_download::Crc32c;
use slide_metadata::{ReadOptions, SlideError, SlideMetadata, read_with};

use super::external_ids::location;
use crate::SlideTable;
use crate::table::{CHECKSUM, RESOLUTION};

/// The resolutions in a table, and one for all other slides.
#[derive(Debug)]
pub(crate) struct Stated {
    /// The checksum and the resolution of each slide in the table.
    table: HashMap<PathBuf, (String, f64)>,
    others: Option<f64>,
}

/// The resolutions that are stated for one slide.
#[derive(Clone, Debug)]
pub(super) struct StatedResolution {
    table: Option<(String, f64)>,
    others: Option<f64>,
}

impl Stated {
    /// Takes the resolutions of `table`; `others` is the one for slides without.
    pub(super) fn new(table: Option<&SlideTable>, others: Option<f64>) -> Self {
        let rows = table.into_iter().flat_map(|table| table.rows().iter().map(move |row| (table.path_of(row), row)));
        let stated = rows.filter_map(|(path, row)| {
            let resolution = row.get(RESOLUTION).trim().parse().ok()?;
            Some((location(&path), (row.get(CHECKSUM).to_owned(), resolution)))
        });
        Self { table: stated.collect(), others }
    }

    /// Those of the slide at `path`.
    pub(super) fn of(&self, path: &Path) -> StatedResolution {
        StatedResolution { table: self.table.get(path).cloned(), others: self.others }
    }
}

impl StatedResolution {
    /// Reads a slide. The table is only about the file whose checksum it has.
    pub(super) fn read(&self, path: &Path) -> Result<SlideMetadata, SlideError> {
        let options = |resolution: f64| ReadOptions::default().with_resolution(resolution);
        let own = match slide_metadata::read(path) {
            Err(error) if error.is_resolution() => error,
            outcome => return outcome,
        };
        if let Some((checksum, resolution)) = &self.table {
            let slide = read_with(path, &options(*resolution));
            if slide.as_ref().is_ok_and(|slide| Crc32c::from(slide.crc32c).to_string() == *checksum) {
                return slide;
            }
        }
        self.others.map_or(Err(own), |resolution| read_with(path, &options(resolution)))
    }
}
