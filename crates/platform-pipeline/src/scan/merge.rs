//! Merges found slides into the rows of a table.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::{FoundSlides, ReadSlide, ScannedSlide};
use crate::error::Error;
use crate::external_ids::{location, relative, too_long};
use crate::files;
use crate::privacy::SlideRemarks;
use crate::table::{CHECKSUM, EXTERNAL_ID, FILE, HEIGHT, MAX_ID_LENGTH, RESOLUTION, SlideRow, SlideTable, URL, WIDTH};

/// Removes the rows of files that were skipped or excluded, and returns their external ids.
pub(super) fn remove_rows(table: &mut SlideTable, found_slides: &FoundSlides) -> Vec<String> {
    let skipped = found_slides.skipped.iter().map(|skipped| &skipped.path);
    let removed_paths: HashSet<PathBuf> = skipped.chain(&found_slides.excluded).map(|path| location(path)).collect();
    let paths: Vec<_> = table.rows.iter().map(|row| location(&table.path_of(row))).collect();
    let mut paths = paths.into_iter();
    let rows = table.rows.extract_if(.., |_| paths.next().is_some_and(|path| removed_paths.contains(&path)));
    rows.map(|row| row.external_id().to_owned()).collect()
}

/// The state of a row, compared with the table before the scan.
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
    /// Returns the name of the state, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Kept => "kept",
            Self::Absent => "absent",
        }
    }
}

/// The result of merging found slides into a table.
#[derive(Default)]
pub(super) struct MergeResult {
    /// The state of each row.
    pub(super) states: Vec<SlideState>,
    pub(super) unusable: Vec<(PathBuf, String)>,
    pub(super) remarks: Vec<SlideRemarks>,
    /// The number of existing rows whose external id is not of the selected kind.
    pub(super) rows_with_other_ids: usize,
}

/// Adds found slides to the table. The cells of a row whose slide is unchanged are kept, because users edit tables.
pub(super) fn merge(table: &mut SlideTable, csv: &Path, scanned: &[ScannedSlide]) -> MergeResult {
    let folder = dunce::canonicalize(files::folder_of(csv)).unwrap_or_else(|_| files::folder_of(csv));
    let mut merged = MergeResult { states: vec![SlideState::Absent; table.rows.len()], ..MergeResult::default() };
    let rows = table.rows.iter().enumerate();
    let by_path: HashMap<_, _> = rows.clone().map(|(index, row)| (location(&table.path_of(row)), index)).collect();
    let by_id: HashMap<_, _> = rows.map(|(index, row)| (row.external_id().to_owned(), index)).collect();
    for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT, URL, FILE] {
        table.ensure_column(column);
    }
    for ScannedSlide { path, slide } in scanned {
        let mut slide = match slide {
            Ok(ReadSlide { row, remarks, .. }) => {
                merged.remarks.extend((!remarks.is_empty()).then(|| remarks.clone()));
                row.clone()
            }
            Err(reason) => {
                merged.unusable.push((path.clone(), reason.clone()));
                continue;
            }
        };
        slide.set(FILE, relative(path, &folder).unwrap_or_default());
        // A slide was moved if its id is in the table with another path, and the file at that path no longer exists.
        let moved_row = || by_id.get(slide.external_id()).filter(|index| merged.states[**index] == SlideState::Absent);
        let moved_row = || moved_row().filter(|index| !table.path_of(&table.rows[**index]).exists());
        let Some(index) = by_path.get(&location(path)).or_else(moved_row).copied() else {
            merged.states.push(SlideState::Added);
            table.rows.push(slide);
            continue;
        };
        let row = &mut table.rows[index];
        merged.rows_with_other_ids += usize::from(row.external_id() != slide.external_id());
        row.set(FILE, slide.get(FILE));
        merged.states[index] = if row.get(CHECKSUM) == slide.get(CHECKSUM) {
            SlideState::Kept
        } else {
            update_measurements(row, &slide);
            SlideState::Changed
        };
    }
    merged
}

/// Sets the checksum and the dimensions of a changed slide, and removes its URL, because the object in the bucket has
/// the previous content.
fn update_measurements(row: &mut SlideRow, slide: &SlideRow) {
    for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT] {
        row.set(column, slide.get(column));
    }
    row.set(URL, "");
}

/// Sets the external id of each row to the value of a column.
pub(super) fn set_ids(table: &mut SlideTable, column: &str) -> Result<(), Error> {
    if !table.has_column(column) {
        let message =
            format!("column '{column}' of --external-id not found; the table has {}", table.columns().join(", "));
        return Err(Error::input(message));
    }
    let files_without_id =
        table.rows.iter().filter(|row| row.get(column).is_empty()).map(|row| row.get(FILE).to_owned());
    let files_without_id: Vec<_> = files_without_id.collect();
    if !files_without_id.is_empty() {
        return Err(Error::inputs(
            format!("the column '{column}' of --external-id is empty for some slides"),
            files_without_id,
        ));
    }
    for row in &mut table.rows {
        let id = row.get(column).to_owned();
        row.set(EXTERNAL_ID, id);
    }
    Ok(())
}

/// Returns an error if two rows have the same id, or an id is too long.
pub(super) fn check_ids(table: &SlideTable) -> Result<(), Error> {
    let mut rows_by_id: HashMap<&str, &SlideRow> = HashMap::new();
    let mut problems = Vec::new();
    for row in &table.rows {
        let id = row.external_id();
        if let Some(other) = rows_by_id.insert(id, row) {
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
