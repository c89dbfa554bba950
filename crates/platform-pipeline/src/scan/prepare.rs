//! Creation of a table from a folder of slides.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auth_core::{Clock, SystemClock};
use platform_download::Pattern;
use slide_metadata::IdentifierKind;

use super::cache::SlideCache;
use super::find::duplicates;
use super::merge::{MergeResult, SlideState, check_ids, merge, remove_rows, set_ids};
use super::resolutions::Resolutions;
use super::schema_check::SchemaCheck;
use super::{DEFAULT_PARALLEL_READS, FoundSlides, ScanOptions, ScannedSlide, SlideReader};
use crate::application::SelectedApplication;
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::external_ids::{ExternalIds, location};
use crate::privacy::{Privacy, SlideRemarks};
use crate::skipped::{SkipKind, SkippedFile};
use crate::study_slide::{SlideStatus, StudySlide};
use crate::table::mapping::{self, Mapping};
use crate::table::{CHECKSUM, SlideTable};

/// Options for creating or updating a table of slides.
#[derive(Clone, Debug)]
pub struct Prepare {
    mappings: Vec<Mapping>,
    overwrite: bool,
    external_ids: Option<ExternalIds>,
    scan: ScanOptions,
    deduplicate: bool,
    rehash: bool,
    parallel: NonZeroUsize,
    resolution: Option<f64>,
    privacy: Privacy,
    application: Option<SelectedApplication>,
    clock: Arc<dyn Clock>,
}

impl Default for Prepare {
    fn default() -> Self {
        Self {
            mappings: Vec::new(),
            overwrite: false,
            external_ids: None,
            scan: ScanOptions::default(),
            deduplicate: false,
            rehash: false,
            parallel: DEFAULT_PARALLEL_READS,
            resolution: None,
            privacy: Privacy::default(),
            application: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// A table that was created or updated.
#[derive(Debug)]
#[non_exhaustive]
pub struct Prepared {
    /// The table as written to its file.
    pub table: SlideTable,
    /// The state of each row of the table.
    pub states: Vec<SlideState>,
    /// The skipped files and folders, each with the reason.
    pub skipped: Vec<SkippedFile>,
    /// The links that were followed, each with its target.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Slides in the table that are duplicates of another slide, each with the other slide.
    pub duplicates: Vec<(PathBuf, PathBuf)>,
    /// Files that the caller excluded.
    pub excluded: Vec<PathBuf>,
    /// Unusable files with the extension of a slide, and folders that cannot be read, each with the reason.
    pub unusable: Vec<(PathBuf, String)>,
    /// Remarks about the usable slides.
    pub remarks: Vec<SlideRemarks>,
}

impl Prepare {
    /// Creates options that update a table. Cells that the user edited are kept while the slide is unchanged.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the values of mappings for the slides whose id they match. The last mapping takes precedence.
    pub fn with_mappings(mut self, mappings: impl IntoIterator<Item = Mapping>) -> Self {
        self.mappings.extend(mappings);
        self
    }

    /// If enabled, replaces the table instead of updating it.
    pub fn with_overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Sets the kind of external ids for new rows. [`ExternalIds::Column`] also replaces the ids of existing rows.
    pub fn with_external_ids(mut self, ids: Option<ExternalIds>) -> Self {
        self.external_ids = ids;
        self
    }

    /// Sets the options for finding slides. Rows of excluded slides are removed from the table.
    pub fn with_scan(mut self, options: ScanOptions) -> Self {
        self.scan = options;
        self
    }

    /// If enabled, skips duplicates: slides with the same length and checksum as another slide. Of several equal
    /// slides, the first in the table is used or, if none of them is in the table, the first by path.
    pub fn with_deduplicate(mut self, deduplicate: bool) -> Self {
        self.deduplicate = deduplicate;
        self
    }

    /// If enabled, reads all slides again, even if the cache has an entry for them.
    pub fn with_rehash(mut self, rehash: bool) -> Self {
        self.rehash = rehash;
        self
    }

    /// Sets the maximum number of slides that are read concurrently. The default is 4.
    pub fn with_parallel_reads(mut self, slides: NonZeroUsize) -> Self {
        self.parallel = slides;
        self
    }

    /// Validates slides and values in the table against the input of an application. Missing values are accepted.
    pub fn with_application(mut self, application: Option<SelectedApplication>) -> Self {
        self.application = application;
        self
    }

    /// Sets the clock that determines whether a slide may still be changing. The default is the system clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the resolution, in micrometers per pixel, of slides whose file has no plausible resolution. A resolution in
    /// the table takes precedence while the file is unchanged.
    pub fn with_resolution(mut self, micrometers: Option<f64>) -> Self {
        self.resolution = micrometers;
        self
    }

    /// Rejects slides with data that may identify a patient, except for data of the kinds in `allowed`.
    pub fn without_identifiers(mut self, allowed: impl IntoIterator<Item = IdentifierKind>) -> Self {
        self.privacy = Privacy { rejects_identifiers: true, allowed: allowed.into_iter().collect() };
        self
    }

    /// Scans a folder and writes the table, unless it is unchanged.
    ///
    /// Unchanged slides are not read again, because `.aignostics/slides.jsonl` in the folder of the table records
    /// them.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the folder has no slides, ids are not unique, a value is invalid for the application, or
    /// the folder or the table cannot be read. [`Error::is_stopped`]: no slide is usable. Otherwise the table cannot
    /// be written, or the process has too few resources to read the slides.
    pub async fn run(&self, csv: &Path, folder: &Path, observer: &Observer) -> Result<Prepared, Error> {
        let schema_check = self.application.as_ref().map(SchemaCheck::new).transpose()?;
        // The table is read first, so that its errors are reported before the slow reading of slides starts.
        let table_before = if csv.exists() && !self.overwrite { Some(SlideTable::read(csv)?) } else { None };
        let mut found_slides = FoundSlides::within(folder, &self.scan.clone().with_table(csv)).await?;
        found_slides.require_slides(folder)?;
        observer(Event::FolderScanned { skipped: found_slides.skipped.clone(), links: found_slides.links.clone() });
        observer(Event::ReadingSlides { folder: folder.to_owned(), slides: found_slides.len() });
        let mut scanned = self.read(&found_slides, csv, table_before.as_ref(), observer).await?;
        let duplicates = self.duplicates(&mut found_slides, &mut scanned, table_before.as_ref(), observer);
        for (path, same) in &duplicates {
            observer(Event::DuplicateSlide { path: path.clone(), same: same.clone() });
        }
        let (mut merged, mut removed_ids) = (MergeResult::default(), Vec::new());
        // The table is read again, because another process may have changed it while slides were read.
        let table = SlideTable::update(csv, |table| {
            if self.overwrite {
                table.clear();
            }
            removed_ids = remove_rows(table, &found_slides);
            merged = self.merge(table, csv, &scanned, schema_check.as_ref(), observer)?;
            merged.unusable.extend(found_slides.unreadable.iter().cloned());
            let is_usable = merged.states.iter().any(|state| *state != SlideState::Absent);
            if is_usable { Ok(()) } else { Err(no_usable_slides(folder, &merged.unusable)) }
        })?;
        for external_id in removed_ids {
            observer(Event::RowRemoved { external_id });
        }
        let MergeResult { states, unusable, remarks, .. } = merged;
        for remarks in &remarks {
            observer(Event::SlideRemarks(remarks.clone()));
        }
        let FoundSlides { skipped, links, excluded, .. } = found_slides;
        Ok(Prepared { table, states, skipped, links, duplicates, excluded, unusable, remarks })
    }

    pub(super) fn application(&self) -> Option<&SelectedApplication> {
        self.application.as_ref()
    }

    pub(super) fn excluded(&self) -> &[Pattern] {
        &self.scan.excluded
    }

    pub(super) fn parallel(&self) -> NonZeroUsize {
        self.parallel
    }

    pub(super) fn privacy(&self) -> &Privacy {
        &self.privacy
    }

    pub(super) fn resolution(&self) -> Option<f64> {
        self.resolution
    }

    pub(super) fn overwrites(&self) -> bool {
        self.overwrite
    }

    async fn read(
        &self,
        found_slides: &FoundSlides,
        csv: &Path,
        table_before: Option<&SlideTable>,
        observer: &Observer,
    ) -> Result<Vec<ScannedSlide>, Error> {
        let reader = Arc::new(SlideReader {
            ids: self.external_ids.clone().unwrap_or_default(),
            resolutions: Resolutions::new(table_before, self.resolution),
            privacy: self.privacy.clone(),
            parallel: self.parallel,
            cache: SlideCache::open(csv, self.rehash, Arc::clone(&self.clock)),
        });
        let scanned = found_slides.read(&reader, || observer(Event::SlideRead)).await?;
        observer(Event::SlidesRead);
        if let Some((path, error)) = Arc::into_inner(reader).and_then(|reader| reader.cache.finish()) {
            observer(Event::CacheUnusable { path, reason: error.to_string() });
        }
        Ok(scanned)
    }

    /// Returns duplicate slides. With [`with_deduplicate`](Self::with_deduplicate), skips duplicates and returns an
    /// empty list.
    fn duplicates(
        &self,
        found_slides: &mut FoundSlides,
        scanned: &mut Vec<ScannedSlide>,
        table_before: Option<&SlideTable>,
        observer: &Observer,
    ) -> Vec<(PathBuf, PathBuf)> {
        let rows =
            table_before.into_iter().flat_map(|table| table.rows().iter().map(|row| location(&table.path_of(row))));
        let row_indexes: HashMap<_, _> = rows.zip(0_usize..).collect();
        let slides = scanned.iter().filter_map(|ScannedSlide { path, slide }| {
            let slide = slide.as_ref().ok()?;
            Some((path.as_path(), (slide.bytes, slide.row.get(CHECKSUM))))
        });
        let duplicates = duplicates(slides, |path| row_indexes.get(&location(path)).copied());
        if !self.deduplicate {
            return duplicates;
        }
        scanned.retain(|scanned| duplicates.iter().all(|(path, _)| *path != scanned.path));
        let skipped = duplicates.into_iter().map(|(path, same)| {
            SkippedFile::new(path, SkipKind::Duplicate, format!("the same content as {}", same.display()))
        });
        let skipped: Vec<_> = skipped.collect();
        if !skipped.is_empty() {
            observer(Event::FolderScanned { skipped: skipped.clone(), links: Vec::new() });
        }
        found_slides.skipped.extend(skipped);
        found_slides.skipped.sort();
        Vec::new()
    }

    fn merge(
        &self,
        table: &mut SlideTable,
        csv: &Path,
        scanned: &[ScannedSlide],
        schema_check: Option<&SchemaCheck>,
        observer: &Observer,
    ) -> Result<MergeResult, Error> {
        let merged = merge(table, csv, scanned);
        self.complete(table, merged, schema_check, observer)
    }

    /// Applies the mappings, sets the ids, and validates the rows.
    pub(super) fn complete(
        &self,
        table: &mut SlideTable,
        mut merged: MergeResult,
        schema_check: Option<&SchemaCheck>,
        observer: &Observer,
    ) -> Result<MergeResult, Error> {
        if self.external_ids.is_some() && merged.rows_with_other_ids > 0 {
            observer(Event::IdsUnchanged { rows: merged.rows_with_other_ids });
        }
        let effect = mapping::apply(&self.mappings, table);
        for expression in effect.unmatched {
            observer(Event::MappingWithoutMatch { expression });
        }
        for column in effect.unknown {
            observer(Event::UnknownMappingColumn { column, columns: table.columns().to_vec() });
        }
        if effect.replaced > 0 {
            observer(Event::ValuesReplaced { cells: effect.replaced });
        }
        if let Some(ExternalIds::Column(column)) = &self.external_ids {
            set_ids(table, column)?;
        }
        check_ids(table)?;
        if let Some(schema_check) = schema_check {
            schema_check.check(table, &mut merged)?;
        }
        Ok(merged)
    }
}

/// Returns an error that lists all unusable files.
pub(super) fn no_usable_slides(folder: &Path, unusable: &[(PathBuf, String)]) -> Error {
    let lines = unusable.iter().map(|(path, reason)| format!("{}: {reason}", path.display()));
    let slides = unusable.iter().map(|(path, reason)| StudySlide {
        external_id: None,
        file: path.display().to_string(),
        status: SlideStatus::Unusable,
        run: None,
        reason: Some(reason.clone()),
    });
    let text = format!("'{}': no file can be used as a slide; no table was written", folder.display());
    Error::stopped(text, lines.collect(), slides.collect())
}

impl Prepared {
    /// Creates the result for slides that are not in a folder.
    pub(super) fn of(
        table: SlideTable,
        states: Vec<SlideState>,
        unusable: Vec<(PathBuf, String)>,
        remarks: Vec<SlideRemarks>,
    ) -> Self {
        let (skipped, links, duplicates, excluded) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { table, states, skipped, links, duplicates, excluded, unusable, remarks }
    }

    /// Returns an error if a file with the extension of a slide is unusable, or a folder cannot be read.
    ///
    /// # Errors
    ///
    /// [`Error::is_incomplete`], with a line for each file.
    pub fn require_all(&self) -> Result<(), Error> {
        if self.unusable.is_empty() {
            return Ok(());
        }
        let lines = self.unusable.iter().map(|(path, reason)| format!("{}: {reason}", path.display()));
        Err(Error::incomplete("some files cannot be used as slides", lines.collect()))
    }

    /// Returns the number of slides in each state, such as `2 added, 5 kept, 1 excluded`.
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
