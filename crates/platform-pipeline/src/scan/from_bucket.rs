//! Creation of a table from slides that are in the bucket already.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use auth_core::error_chain;
use futures_util::{StreamExt, TryStreamExt, stream};
use platform_download::{Crc32c, Pattern};
use platform_resources::{Bucket, ObjectEntry, SignError};
use slide_metadata::{PLAUSIBLE, ReadOptions, SlideMetadata, inspect_from};

use super::merge::{MergeResult, SlideState};
use super::prepare::{Prepare, Prepared, no_usable_slides};
use super::schema_check::SchemaCheck;
use super::{ReadSlide, ScannedSlide, on_thread, slide_row};
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::privacy::SlideRemarks;
use crate::table::{CHECKSUM, FILE, HEIGHT, RESOLUTION, SlideTable, URL, WIDTH};

/// The file extensions of slides, as for slides in a folder.
const EXTENSIONS: [&str; 8] = ["tif", "tiff", "svs", "ndpi", "scn", "bif", "dcm", "zip"];

const REPLACED: &str = "it was replaced while it was read";

/// The slides of a bucket.
#[derive(Clone, Debug)]
pub struct BucketSlides {
    bucket: Bucket,
    prefix: String,
    verify: bool,
}

impl BucketSlides {
    /// Selects the objects below a prefix. The external id of a slide is its key without the prefix.
    pub fn new(bucket: Bucket, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { bucket, prefix, verify: false }
    }

    /// If enabled, reads the objects, and compares the checksum of their content with the checksum that the storage
    /// reports. By default, the reported checksum is used, and only headers are read.
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Returns the slides, and the excluded slides.
    async fn list(&self, excluded: &[Pattern]) -> Result<(Vec<ObjectEntry>, Vec<ObjectEntry>), Error> {
        let is_slide = |entry: &ObjectEntry| {
            let extension =
                Path::new(self.id(entry)).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
        };
        let is_excluded = |entry: &ObjectEntry| {
            let id = self.id(entry);
            let name = id.rsplit('/').next().unwrap_or(id);
            excluded.iter().any(|pattern| pattern.matches(id) || pattern.matches(name))
        };
        let entries: Vec<_> = self.bucket.list(&self.prefix).try_collect().await?;
        let (excluded, slides): (Vec<_>, Vec<_>) = entries.into_iter().filter(is_slide).partition(is_excluded);
        if slides.is_empty() {
            let text = "no slides; they end with .tif, .tiff, .svs, .ndpi, .scn, .bif, .dcm or .zip";
            return Err(Error::input(format!("{}{}: {text}", self.bucket.root(), self.prefix)));
        }
        Ok((slides, excluded))
    }

    fn id<'a>(&self, entry: &'a ObjectEntry) -> &'a str {
        entry.key.strip_prefix(&self.prefix).unwrap_or(&entry.key)
    }

    async fn storage_checksum(&self, entry: &ObjectEntry) -> Result<Option<Crc32c>, String> {
        let properties = self.bucket.properties(&entry.key).await.map_err(|error| error_chain(&error))?;
        let (bytes, storage_crc32c) = properties.ok_or("it was deleted")?;
        if bytes.is_none_or(|bytes| bytes == entry.bytes) { Ok(storage_crc32c) } else { Err(REPLACED.to_owned()) }
    }

    /// Returns the checksum of an object. `crc32c_before` is the checksum that the storage reported before the header
    /// of the object was read.
    async fn checksum(&self, entry: &ObjectEntry, crc32c_before: Option<Crc32c>) -> Result<Crc32c, String> {
        let storage_crc32c = self.storage_checksum(entry).await?;
        if storage_crc32c != crc32c_before {
            return Err(REPLACED.to_owned());
        }
        if !self.verify {
            return storage_crc32c.ok_or_else(|| "the storage states no CRC32C: compute it with --verify".to_owned());
        }
        let computed = self.bucket.compute_checksum(&entry.key, entry.bytes).await;
        let computed = computed.map_err(|error| error_chain(&error))?;
        match storage_crc32c {
            Some(storage_crc32c) if storage_crc32c != computed => {
                Err(format!("its content has the CRC32C {computed}, but the storage states {storage_crc32c}"))
            }
            _ => Ok(computed),
        }
    }
}

impl Prepare {
    /// Writes the table of slides that are in the bucket, unless it is unchanged. Only headers are read, by ranged
    /// requests.
    ///
    /// The column `platform_bucket_url` contains the addresses of the objects, so that `run submit` needs no upload. A
    /// row whose object has the same checksum is kept.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: no slides were found, ids are not unique, or a value is invalid for the application.
    /// [`Error::is_stopped`]: there are slides, but none is usable. [`Error::bucket`]: the objects cannot be listed.
    /// Otherwise the table cannot be written.
    pub async fn run_from_bucket(
        &self,
        csv: &Path,
        slides: &BucketSlides,
        observer: &Observer,
    ) -> Result<Prepared, Error> {
        let schema_check = self.application().map(SchemaCheck::new).transpose()?;
        let (entries, excluded) = slides.list(self.excluded()).await?;
        let excluded = excluded.iter().map(|entry| Ok(slides.bucket.address(&entry.key)?.to_string()));
        let excluded: HashSet<_> = excluded.collect::<Result<_, SignError>>()?;
        let resolutions = resolutions(csv)?;
        let root = PathBuf::from(format!("{}{}", slides.bucket.root(), slides.prefix));
        observer(Event::ReadingSlides { folder: root.clone(), slides: entries.len() });
        let reads = entries.iter().map(|entry| self.read_object(slides, entry, &resolutions));
        let reads = stream::iter(reads).buffered(self.parallel().get());
        let scanned: Vec<ScannedSlide> = reads.inspect(|_| observer(Event::SlideRead)).try_collect().await?;
        observer(Event::SlidesRead);
        let (mut merged, mut removed_rows) = (MergeResult::default(), Vec::new());
        let table = SlideTable::update(csv, |table| {
            if self.overwrites() {
                table.clear();
            }
            removed_rows = table.rows.extract_if(.., |row| excluded.contains(row.get(URL))).collect();
            let unvalidated = merge(table, &scanned);
            merged = self.complete(table, unvalidated, schema_check.as_ref(), observer)?;
            let is_usable = merged.states.iter().any(|state| *state != SlideState::Absent);
            if is_usable { Ok(()) } else { Err(no_usable_slides(&root, &merged.unusable)) }
        })?;
        for row in &removed_rows {
            observer(Event::RowRemoved { external_id: row.external_id().to_owned() });
        }
        let MergeResult { states, unusable, remarks, .. } = merged;
        for remarks in &remarks {
            observer(Event::SlideRemarks(remarks.clone()));
        }
        Ok(Prepared::of(table, states, unusable, remarks))
    }

    /// Reads the header of a slide.
    async fn read_object(
        &self,
        slides: &BucketSlides,
        entry: &ObjectEntry,
        resolutions: &HashMap<String, (String, f64)>,
    ) -> Result<ScannedSlide, Error> {
        let path = PathBuf::from(format!("{}{}", slides.bucket.root(), entry.key));
        let (name, reader) = (path.clone(), slides.bucket.reader(&entry.key, entry.bytes));
        let length = entry.bytes;
        let crc32c_before = slides.storage_checksum(entry).await;
        let description = on_thread(move || inspect_from(&name, reader, length)).await?;
        let slide = async {
            let description = description.map_err(|error| error_chain(&error))?;
            if let Some(reason) = self.privacy().refusal(&description.identifiers) {
                return Err(reason);
            }
            let crc32c = slides.checksum(entry, crc32c_before?).await?;
            let address = slides.bucket.address(&entry.key).map_err(|error| error_chain(&error))?.to_string();
            // The resolution of another object under this key does not apply.
            let table_resolution = resolutions.get(&address).filter(|(checksum, _)| *checksum == crc32c.to_string());
            let resolution = table_resolution.map(|(_, resolution)| *resolution).or(self.resolution());
            let options = resolution.into_iter().fold(ReadOptions::default(), ReadOptions::with_resolution);
            let slide = SlideMetadata::of(&path, description, crc32c.into(), &options);
            let slide = slide.map_err(|error| error_chain(&error))?;
            let mut row = slide_row(slides.id(entry), &slide);
            row.set(URL, address);
            let remarks = SlideRemarks::of(path.clone(), slide.description);
            Ok::<_, String>(ReadSlide { row, remarks, bytes: slide.bytes })
        };
        let slide = slide.await;
        Ok(ScannedSlide { path, slide })
    }
}

/// Returns the checksum and the plausible resolution of each object in a table.
fn resolutions(csv: &Path) -> Result<HashMap<String, (String, f64)>, Error> {
    let table = if csv.exists() { SlideTable::read(csv)? } else { return Ok(HashMap::new()) };
    let rows = table.rows().iter().filter_map(|row| {
        let resolution = row.get(RESOLUTION).trim().parse().ok().filter(|value| PLAUSIBLE.contains(value))?;
        Some((row.get(URL).to_owned(), (row.get(CHECKSUM).to_owned(), resolution)))
    });
    Ok(rows.collect())
}

/// Merges slides of the bucket into a table. The row of a slide is the row with the address of its object.
fn merge(table: &mut SlideTable, scanned: &[ScannedSlide]) -> MergeResult {
    let mut merged = MergeResult { states: vec![SlideState::Absent; table.rows().len()], ..MergeResult::default() };
    let rows = table.rows().iter().enumerate();
    let by_url: HashMap<_, _> = rows.map(|(row_index, row)| (row.get(URL).to_owned(), row_index)).collect();
    for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT, URL, FILE] {
        table.ensure_column(column);
    }
    for ScannedSlide { path, slide } in scanned {
        let slide = match slide {
            Ok(slide) => slide,
            Err(reason) => {
                merged.unusable.push((path.clone(), reason.clone()));
                continue;
            }
        };
        merged.remarks.extend((!slide.remarks.is_empty()).then(|| slide.remarks.clone()));
        let Some(row_index) = by_url.get(slide.row.get(URL)).copied() else {
            merged.states.push(SlideState::Added);
            table.rows.push(slide.row.clone());
            continue;
        };
        let row = &mut table.rows[row_index];
        merged.rows_with_other_ids += usize::from(row.external_id() != slide.row.external_id());
        merged.states[row_index] = if row.get(CHECKSUM) == slide.row.get(CHECKSUM) {
            SlideState::Kept
        } else {
            for column in [CHECKSUM, RESOLUTION, WIDTH, HEIGHT] {
                row.set(column, slide.row.get(column));
            }
            SlideState::Changed
        };
    }
    merged
}
