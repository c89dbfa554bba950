//! From a folder to a table of its slides.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use slide_metadata::IdentifierKind;

use super::privacy::{Privacy, SlideRemarks};
use super::{FoundSlides, Scanned, Stated};
use crate::table::mapping::{self, Mapping};
use crate::table::{CHECKSUM, HEIGHT, RESOLUTION, URL, WIDTH};
use crate::{Error, Event, Observer, SlideRow, SlideTable};

/// How a table of slides is created or updated.
#[derive(Clone, Debug, Default)]
pub struct Prepare {
    mappings: Vec<Mapping>,
    overwrite: bool,
    resolution: Option<f64>,
    privacy: Privacy,
}

/// A table that was created or updated.
#[derive(Debug)]
#[non_exhaustive]
pub struct Prepared {
    /// The table as it was written.
    pub table: SlideTable,
    /// The state of each row of the table.
    pub states: Vec<SlideState>,
    /// Files that are not slides by themselves, and the reason for each.
    pub skipped: Vec<(PathBuf, String)>,
    /// Files that look like slides and cannot be used, and why.
    pub unusable: Vec<(PathBuf, String)>,
    /// Remarks about slides that are used.
    pub remarks: Vec<SlideRemarks>,
}

/// The state of a slide in a table, compared with the table before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlideState {
    /// The slide is new in the table.
    Added,
    /// The file has another checksum than before.
    Changed,
    /// The file is unchanged.
    Kept,
    /// The file was not found in the folder.
    Absent,
}

impl SlideState {
    /// The name of the state, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Kept => "kept",
            Self::Absent => "absent",
        }
    }
}

impl Prepare {
    /// Updates a table: rows that still fit their slide stay as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets values for the slides whose id a mapping matches. The last mapping wins.
    pub fn with_mappings(mut self, mappings: impl IntoIterator<Item = Mapping>) -> Self {
        self.mappings.extend(mappings);
        self
    }

    /// Writes the table anew, and drops what was in it.
    pub fn with_overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// States the resolution, in micrometers per pixel, of slides that have no plausible one themselves. A resolution in the
    /// table wins, as long as the file is unchanged.
    pub fn with_resolution(mut self, micrometers: Option<f64>) -> Self {
        self.resolution = micrometers;
        self
    }

    /// Refuses slides that may identify a patient, except by the kinds in `allowed`.
    pub fn without_identifiers(mut self, allowed: impl IntoIterator<Item = IdentifierKind>) -> Self {
        self.privacy = Privacy { refuses: true, allowed: allowed.into_iter().collect() };
        self
    }

    /// Scans a folder and writes the table, unless that would change nothing.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the folder has no slides, or the folder or the table cannot be read. Otherwise the table
    /// cannot be written.
    pub async fn run(&self, csv: &Path, folder: &Path, observer: &Observer) -> Result<Prepared, Error> {
        let before = if csv.exists() && !self.overwrite { Some(SlideTable::read(csv)?) } else { None };
        let found = FoundSlides::within(folder).await?;
        let (slides, skipped) = (found.len(), found.skipped.clone());
        if slides == 0 && !skipped.is_empty() {
            let skipped = skipped.iter().map(|(path, what)| format!("{}: skipped: {what}", path.display()));
            let text = format!("{}: no slides, but files that are none of their own", folder.display());
            return Err(Error::inputs(text, skipped.collect()));
        }
        for (path, reason) in skipped {
            observer(Event::FileSkipped { path, reason });
        }
        if slides == 0 {
            let endings = ".tif, .tiff, .svs, .ndpi, .scn, .bif, .dcm or .zip";
            return Err(Error::input(format!("{}: no slides; they end with {endings}", folder.display())));
        }
        observer(Event::ReadingSlides { folder: folder.to_owned(), slides });
        let stated = Stated::new(before.as_ref(), self.resolution);
        let scanned = found.read(&stated, &self.privacy, || observer(Event::SlideRead)).await?;
        observer(Event::SlidesRead);
        let mut table = before.clone().unwrap_or_default();
        remove_parts(&mut table, &found.skipped, observer);
        let mut prepared = merge(table, scanned);
        prepared.skipped = found.skipped;
        for remarks in &prepared.remarks {
            observer(Event::SlideRemarks(remarks.clone()));
        }
        self.map(&mut prepared.table, observer);
        if before.as_ref() != Some(&prepared.table) {
            prepared.table.write(csv)?;
        }
        Ok(prepared)
    }

    fn map(&self, table: &mut SlideTable, observer: &Observer) {
        let applied = mapping::apply(&self.mappings, table);
        for column in applied.unknown {
            observer(Event::UnknownMappingColumn { column, columns: table.columns().to_vec() });
        }
        if applied.replaced > 0 {
            observer(Event::ValuesReplaced { cells: applied.replaced });
        }
    }
}

/// A file that was taken for a slide before the rest of its slide existed would be submitted in addition to it.
fn remove_parts(table: &mut SlideTable, skipped: &[(PathBuf, String)], observer: &Observer) {
    let skipped: HashSet<_> = skipped.iter().filter_map(|(path, _)| path.to_str()).collect();
    for row in table.rows.extract_if(.., |row| skipped.contains(row.external_id())) {
        observer(Event::RowRemoved { external_id: row.external_id().to_owned() });
    }
}

/// Adds what was found. Users edit tables: a row that still fits its slide stays as it is.
fn merge(mut table: SlideTable, scanned: Vec<Scanned>) -> Prepared {
    let mut states = vec![SlideState::Absent; table.rows.len()];
    let places: HashMap<_, _> =
        table.rows.iter().enumerate().map(|(place, row)| (row.external_id().to_owned(), place)).collect();
    for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT, URL] {
        table.require(column);
    }
    let (mut unusable, mut remarks) = (Vec::new(), Vec::new());
    for slide in scanned {
        let slide = match slide {
            Ok(slide) => {
                remarks.push(slide.remarks);
                slide.row
            }
            Err(reason) => {
                unusable.push(reason);
                continue;
            }
        };
        match places.get(slide.external_id()) {
            Some(place) if table.rows[*place].get(CHECKSUM) == slide.get(CHECKSUM) => {
                states[*place] = SlideState::Kept;
            }
            Some(place) => {
                states[*place] = SlideState::Changed;
                measure(&mut table.rows[*place], &slide);
            }
            None => {
                states.push(SlideState::Added);
                table.rows.push(slide);
            }
        }
    }
    remarks.retain(|remarks| !remarks.is_empty());
    Prepared { table, states, skipped: Vec::new(), unusable, remarks }
}

/// The measurements of a slide that is not in the bucket in its present form.
fn measure(row: &mut SlideRow, slide: &SlideRow) {
    for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT] {
        row.set(column, slide.get(column));
    }
    row.set(URL, "");
}

impl Prepared {
    /// Fails if a file looks like a slide and cannot be used.
    ///
    /// # Errors
    ///
    /// [`Error::is_incomplete`], with a line for each file.
    pub fn require_all(&self) -> Result<(), Error> {
        if self.unusable.is_empty() {
            return Ok(());
        }
        let lines = self.unusable.iter().map(|(path, reason)| format!("{}: {reason}", path.display()));
        Err(Error::incomplete("some files cannot be used as slides, and are not in the table", lines.collect()))
    }

    /// The number of slides in each state, in words.
    pub fn summary(&self) -> String {
        let states = [SlideState::Added, SlideState::Changed, SlideState::Kept, SlideState::Absent];
        let count = |state| self.states.iter().filter(|other| **other == state).count();
        let counts = states.map(|state| (count(state), state)).into_iter().filter(|(count, _)| *count > 0);
        counts.map(|(count, state)| format!("{count} {}", state.name())).collect::<Vec<_>>().join(", ")
    }
}
