//! From a folder to a table of its slides.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use platform_resources::Pattern;
use slide_metadata::IdentifierKind;

use super::external_ids::{ExternalIds, location, relative, too_long};
use super::privacy::{Privacy, SlideRemarks};
use super::{FoundSlides, ScannedSlide, Stated};
use crate::table::mapping::{self, Mapping};
use crate::table::{CHECKSUM, EXTERNAL_ID, FILE, HEIGHT, MAX_ID_LENGTH, RESOLUTION, URL, WIDTH};
use crate::{Error, Event, Observer, SlideRow, SlideTable, files};

/// The options for creating or updating a table of slides.
#[derive(Clone, Debug, Default)]
pub struct Prepare {
    mappings: Vec<Mapping>,
    overwrite: bool,
    external_ids: Option<ExternalIds>,
    excluded: Vec<Pattern>,
    resolution: Option<f64>,
    privacy: Privacy,
}

/// A table that was created or updated.
#[derive(Debug)]
#[non_exhaustive]
pub struct Prepared {
    /// The table as it is in its file.
    pub table: SlideTable,
    /// The state of each row of the table.
    pub states: Vec<SlideState>,
    /// Files that are not slides by themselves, and the reason for each.
    pub skipped: Vec<(PathBuf, String)>,
    /// Files that the caller excluded.
    pub excluded: Vec<PathBuf>,
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

    /// Chooses the ids of slides that are not in the table; [`ExternalIds::Column`] sets those of all slides.
    pub fn with_external_ids(mut self, ids: Option<ExternalIds>) -> Self {
        self.external_ids = ids;
        self
    }

    /// Leaves out slides: by a pattern for their names or, if it contains a `/`, for their paths relative to the folder.
    /// Their rows are removed from the table.
    pub fn with_excluded(mut self, patterns: impl IntoIterator<Item = Pattern>) -> Self {
        self.excluded.extend(patterns);
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
    /// [`Error::is_input`]: the folder has no slides, ids are not unique, or the folder or the table cannot be read.
    /// Otherwise the table cannot be written.
    pub async fn run(&self, csv: &Path, folder: &Path, observer: &Observer) -> Result<Prepared, Error> {
        // Its problems are reported before slides are read, which takes long.
        let before = if csv.exists() && !self.overwrite { Some(SlideTable::read(csv)?) } else { None };
        let found = FoundSlides::within(folder, &self.excluded).await?;
        found.require_slides(folder)?;
        for (path, reason) in found.skipped.clone() {
            observer(Event::FileSkipped { path, reason });
        }
        observer(Event::ReadingSlides { folder: folder.to_owned(), slides: found.len() });
        let ids = self.external_ids.clone().unwrap_or_default();
        let stated = Stated::new(before.as_ref(), self.resolution);
        let scanned = found.read(&ids, &stated, &self.privacy, || observer(Event::SlideRead)).await?;
        observer(Event::SlidesRead);
        let mut merged = None;
        // Other processes may have changed the table since.
        let table = SlideTable::update(csv, |table| {
            if self.overwrite {
                table.clear();
            }
            remove_rows(table, &found, observer);
            merged = Some(self.merge(table, csv, &scanned, observer)?);
            Ok(())
        })?;
        let Merged { states, unusable, remarks, .. } = merged.unwrap_or_default();
        for remarks in &remarks {
            observer(Event::SlideRemarks(remarks.clone()));
        }
        Ok(Prepared { table, states, skipped: found.skipped, excluded: found.excluded, unusable, remarks })
    }

    fn merge(
        &self,
        table: &mut SlideTable,
        csv: &Path,
        scanned: &[ScannedSlide],
        observer: &Observer,
    ) -> Result<Merged, Error> {
        let merged = merge(table, csv, scanned);
        if self.external_ids.is_some() && merged.other_ids > 0 {
            observer(Event::IdsKept { rows: merged.other_ids });
        }
        let applied = mapping::apply(&self.mappings, table);
        for column in applied.unknown {
            observer(Event::UnknownMappingColumn { column, columns: table.columns().to_vec() });
        }
        if applied.replaced > 0 {
            observer(Event::ValuesReplaced { cells: applied.replaced });
        }
        if let Some(ExternalIds::Column(column)) = &self.external_ids {
            set_ids(table, column)?;
        }
        check_ids(table)?;
        Ok(merged)
    }
}

/// Removes the rows of files that are not slides of their own, or are excluded.
fn remove_rows(table: &mut SlideTable, found: &FoundSlides, observer: &Observer) {
    let parts = found.skipped.iter().map(|(path, _)| path);
    let removed: HashSet<&PathBuf> = parts.chain(&found.excluded).collect();
    let paths: Vec<_> = table.rows.iter().map(|row| location(&table.path_of(row))).collect();
    let mut paths = paths.into_iter();
    for row in table.rows.extract_if(.., |_| paths.next().is_some_and(|path| removed.contains(&path))) {
        observer(Event::RowRemoved { external_id: row.external_id().to_owned() });
    }
}

#[derive(Default)]
struct Merged {
    states: Vec<SlideState>,
    unusable: Vec<(PathBuf, String)>,
    remarks: Vec<SlideRemarks>,
    /// Rows with another id than the chosen kind gives.
    other_ids: usize,
}

/// Adds what was found. Users edit tables: a row that still fits its slide stays as it is.
fn merge(table: &mut SlideTable, csv: &Path, scanned: &[ScannedSlide]) -> Merged {
    let folder = files::folder_of(csv).canonicalize().unwrap_or_else(|_| files::folder_of(csv));
    let mut merged = Merged { states: vec![SlideState::Absent; table.rows.len()], ..Merged::default() };
    let rows = table.rows.iter().enumerate();
    let by_path: HashMap<_, _> = rows.clone().map(|(place, row)| (location(&table.path_of(row)), place)).collect();
    let by_id: HashMap<_, _> = rows.map(|(place, row)| (row.external_id().to_owned(), place)).collect();
    for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT, URL, FILE] {
        table.require(column);
    }
    for ScannedSlide { path, slide } in scanned {
        let mut slide = match slide {
            Ok((slide, remarks)) => {
                merged.remarks.extend((!remarks.is_empty()).then(|| remarks.clone()));
                slide.clone()
            }
            Err(reason) => {
                merged.unusable.push((path.clone(), reason.clone()));
                continue;
            }
        };
        slide.set(FILE, relative(path, &folder).unwrap_or_default());
        // A slide with the same id in another location was moved, unless its old file still exists.
        let moved = || by_id.get(slide.external_id()).filter(|place| merged.states[**place] == SlideState::Absent);
        let moved = || moved().filter(|place| !table.path_of(&table.rows[**place]).exists());
        let Some(place) = by_path.get(path).or_else(moved).copied() else {
            merged.states.push(SlideState::Added);
            table.rows.push(slide);
            continue;
        };
        let row = &mut table.rows[place];
        merged.other_ids += usize::from(row.external_id() != slide.external_id());
        row.set(FILE, slide.get(FILE));
        merged.states[place] = if row.get(CHECKSUM) == slide.get(CHECKSUM) {
            SlideState::Kept
        } else {
            measure(row, &slide);
            SlideState::Changed
        };
    }
    merged
}

/// The measurements of a slide that is not in the bucket in its present form.
fn measure(row: &mut SlideRow, slide: &SlideRow) {
    for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT] {
        row.set(column, slide.get(column));
    }
    row.set(URL, "");
}

/// Takes the ids from a column.
fn set_ids(table: &mut SlideTable, column: &str) -> Result<(), Error> {
    if !table.has(column) {
        let text =
            format!("column '{column}' of --external-id not found; the table has {}", table.columns().join(", "));
        return Err(Error::input(text));
    }
    let empty = table.rows.iter().filter(|row| row.get(column).is_empty()).map(|row| row.get(FILE).to_owned());
    let empty: Vec<_> = empty.collect();
    if !empty.is_empty() {
        return Err(Error::inputs(format!("the column '{column}' of --external-id is empty for some slides"), empty));
    }
    for row in &mut table.rows {
        let id = row.get(column).to_owned();
        row.set(EXTERNAL_ID, id);
    }
    Ok(())
}

fn check_ids(table: &SlideTable) -> Result<(), Error> {
    let mut first: HashMap<&str, &SlideRow> = HashMap::new();
    let mut problems = Vec::new();
    for row in &table.rows {
        let id = row.external_id();
        if let Some(other) = first.insert(id, row) {
            problems.push(format!("{} and {} have the id '{id}'", other.get(FILE), row.get(FILE)));
        }
        let length = id.chars().count();
        if length > MAX_ID_LENGTH {
            problems.push(format!("{}: {}", row.get(FILE), too_long(length)));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::inputs("slides cannot have these external ids: choose others by --external-id", problems))
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
        let counts = counts.map(|(count, state)| format!("{count} {}", state.name()));
        let files = [(self.unusable.len(), "unusable"), (self.excluded.len(), "excluded")].into_iter();
        let files = files.filter(|(count, _)| *count > 0).map(|(count, state)| format!("{count} {state}"));
        counts.chain(files).collect::<Vec<_>>().join(", ")
    }
}
