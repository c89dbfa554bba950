//! The traversal of a folder, which finds slides and lists skipped files with the reason.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use platform_download::{Pattern, ResultFolder};
use slide_metadata::{DicomFiles, Recognized, recognize};

use super::{FoundSlides, ScanOptions};
use crate::error::Error;
use crate::external_ids::with_slashes;
use crate::files;
use crate::skipped::{SkipKind, SkippedFile};

/// The file extensions of slides except DICOM.
const EXTENSIONS: [&str; 6] = ["tif", "tiff", "svs", "ndpi", "scn", "bif"];
/// The file extension of DICOM.
const DICOM: &str = "dcm";
/// The file extension of archives, which may contain DICOM files.
const ARCHIVE: &str = "zip";
/// The names of recycle bins and similar folders, in lower case (Windows, Synology, QNAP, macOS, ext4).
const RECYCLE_BINS: [&str; 6] = ["$recycle.bin", "recycler", "#recycle", "@recycle", ".trashes", "lost+found"];
/// The prefix of recycle bins on Linux, such as `.Trash-1000`, in lower case.
const RECYCLE_BIN_PREFIX: &str = ".trash";

/// A traversal in progress.
pub(super) struct Walk<'a> {
    options: &'a ScanOptions,
    found_slides: FoundSlides,
    dicom: Vec<PathBuf>,
    /// Links to folders. They are followed after all folders were visited, so that a folder is listed under its own
    /// path.
    links: Vec<PathBuf>,
    /// The canonical paths of folders that were scanned.
    visited: HashSet<PathBuf>,
    /// The files that are listed in manifests of results folders.
    results: HashSet<PathBuf>,
}

impl<'a> Walk<'a> {
    /// Finds the slides in a folder.
    pub(super) fn find_slides(folder: &Path, options: &'a ScanOptions) -> Result<FoundSlides, Error> {
        let root = dunce::canonicalize(folder).map_err(|error| Error::unreadable(folder, error))?;
        if !root.is_dir() {
            return Err(Error::input(format!("{} is not a folder", folder.display())));
        }
        fs::read_dir(&root).map_err(|error| Error::unreadable(folder, error))?;
        let found_slides = FoundSlides { root: root.clone(), ..FoundSlides::default() };
        let (dicom, links) = (Vec::new(), Vec::new());
        let mut walk = Self { options, found_slides, dicom, links, visited: HashSet::new(), results: HashSet::new() };
        // The scanned folder may be inside a results folder.
        for ancestor in root.ancestors().skip(1) {
            walk.results.extend(ResultFolder::listed_files(ancestor));
        }
        walk.visit_folder(&root);
        while !walk.links.is_empty() {
            let mut links = std::mem::take(&mut walk.links);
            links.sort();
            for link in links {
                walk.visit_linked_folder(&link);
            }
        }
        Ok(walk.finish())
    }

    fn finish(mut self) -> FoundSlides {
        self.dicom.sort();
        let DicomFiles { slides, others, .. } = DicomFiles::group(self.dicom);
        let mut found_slides = self.found_slides;
        let parts = others.into_iter().map(|(path, reason)| SkippedFile::new(path, SkipKind::Part, reason));
        found_slides.skipped.extend(parts);
        found_slides.slides.extend(slides);
        found_slides.slides.sort();
        found_slides.excluded.sort();
        found_slides.skipped.sort();
        found_slides.links.sort();
        found_slides.unreadable.sort();
        found_slides
    }

    fn skip(&mut self, path: PathBuf, kind: SkipKind, reason: impl Into<String>) {
        self.found_slides.skipped.push(SkippedFile::new(path, kind, reason));
    }

    fn visit_folder(&mut self, folder: &Path) {
        let unreadable = |error: std::io::Error| (folder.to_owned(), format!("the folder cannot be read: {error}"));
        let listing = dunce::canonicalize(folder).and_then(|target| Ok((target, fs::read_dir(folder)?)));
        let (target, entries) = match listing {
            Ok(listing) => listing,
            Err(error) => return self.found_slides.unreadable.push(unreadable(error)),
        };
        if !self.visited.insert(target) {
            return self.skip(folder.to_owned(), SkipKind::Link, "scanned by another path");
        }
        self.results.extend(ResultFolder::listed_files(folder));
        // A results folder can contain a folder for each run.
        let has_results = ResultFolder::is_result_folder(folder);
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_type()?, entry))) {
                Ok((kind, entry)) if kind.is_dir() => self.visit_subfolder(&entry, has_results),
                Ok((kind, entry)) if kind.is_symlink() => self.visit_link(entry.path()),
                Ok((_, entry)) => self.visit_file(entry.path()),
                Err(error) => self.found_slides.unreadable.push(unreadable(error)),
            }
        }
    }

    fn visit_subfolder(&mut self, entry: &DirEntry, has_results: bool) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name == files::STATE_FOLDER {
            // The state of this project contains no slides.
        } else if let Some((kind, reason)) = folder_to_skip(&name) {
            self.skip(path, kind, reason);
        } else if has_results && is_run_id(&name) {
            self.skip(path, SkipKind::Result, "the results of a run");
        } else {
            self.visit_folder(&path);
        }
    }

    fn visit_link(&mut self, path: PathBuf) {
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if let Some((kind, reason)) = folder_to_skip(&name) {
                    self.skip(path, kind, reason);
                } else if self.options.follow_links {
                    self.links.push(path);
                } else {
                    self.skip(path, SkipKind::Link, "a link to a folder; --follow-links follows it");
                }
            }
            Ok(_) => self.visit_file(path),
            // A broken link that looks like a slide is an error.
            Err(_) if is_slide(&extension(&path)) => self.visit_file(path),
            Err(error) => self.skip(path, SkipKind::Link, format!("a link that leads nowhere: {error}")),
        }
    }

    fn visit_linked_folder(&mut self, link: &Path) {
        match dunce::canonicalize(link) {
            Ok(target) if self.visited.contains(&target) => {
                let reason = format!("a link to {}, which is scanned by another path", target.display());
                self.skip(link.to_owned(), SkipKind::Link, reason);
            }
            Ok(target) => {
                self.found_slides.links.push((link.to_owned(), target));
                self.visit_folder(link);
            }
            Err(error) => self.skip(link.to_owned(), SkipKind::Link, format!("it cannot be followed: {error}")),
        }
    }

    /// Adds a file to the slides, to the DICOM files, or to the skipped files.
    fn visit_file(&mut self, path: PathBuf) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = extension(&path);
        let is_slide = is_slide(&extension);
        if name.starts_with(files::STATE_FOLDER) || self.is_table(&path) {
            return;
        }
        let not_a_slide = "not a slide";
        if name.starts_with('.') {
            let kind = if is_slide { SkipKind::Hidden } else { SkipKind::Other };
            return self.skip(path, kind, if is_slide { "a hidden file" } else { not_a_slide });
        }
        // A broken link is reported as an error of the slide.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let kind = if is_slide { SkipKind::Special } else { SkipKind::Other };
            return self.skip(path, kind, "a pipe, a socket or a device");
        }
        if self.is_excluded(&path) {
            return if is_slide {
                self.found_slides.excluded.push(path);
            };
        }
        if self.results.contains(&path) {
            return self.skip(path, SkipKind::Result, "the result of a run, by a manifest");
        }
        if is_slide {
            return self.add_slide(path, &extension);
        }
        match recognize(&path) {
            Ok(Recognized::Other(format)) => {
                self.skip(path, SkipKind::OtherFormat, format!("{format} is not supported"));
            }
            Ok(Recognized::Tiff) => {
                self.skip(
                    path,
                    SkipKind::OtherName,
                    "TIFF by its first bytes; a name that ends with .tif makes it a slide",
                );
            }
            Ok(Recognized::Dicom) => {
                self.skip(
                    path,
                    SkipKind::OtherName,
                    "DICOM by its first bytes; a name that ends with .dcm makes it a slide",
                );
            }
            Ok(_) => self.skip(path, SkipKind::Other, not_a_slide),
            Err(error) => self.skip(path, SkipKind::Other, format!("{not_a_slide} by its name; {error}")),
        }
    }

    fn add_slide(&mut self, path: PathBuf, extension: &str) {
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
            && let Ok(target) = dunce::canonicalize(&path)
        {
            self.found_slides.links.push((path.clone(), target));
        }
        if extension == DICOM {
            self.dicom.push(path);
        } else if extension == ARCHIVE && matches!(slide_metadata::is_dicom_archive(&path), Ok(false)) {
            self.skip(path, SkipKind::Archive, "an archive without DICOM files");
        } else {
            self.found_slides.slides.push(path);
        }
    }

    /// Returns true if `path` is the table that is being written.
    fn is_table(&self, path: &Path) -> bool {
        self.options.table.as_ref().is_some_and(|table| path == table)
    }

    fn is_excluded(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let relative = with_slashes(path.strip_prefix(&self.found_slides.root).unwrap_or(path)).unwrap_or_default();
        let mut patterns = self.options.excluded.iter();
        let is_match =
            |pattern: &Pattern| pattern.matches(if pattern.to_string().contains('/') { &relative } else { &name });
        patterns.any(is_match)
    }
}

/// Returns the reason to skip a folder with this name, or `None` if it is scanned.
fn folder_to_skip(name: &str) -> Option<(SkipKind, &'static str)> {
    let lower_case_name = name.to_lowercase();
    if RECYCLE_BINS.contains(&lower_case_name.as_str()) || lower_case_name.starts_with(RECYCLE_BIN_PREFIX) {
        return Some((SkipKind::RecycleBin, "a recycle bin"));
    }
    name.starts_with('.').then_some((SkipKind::Hidden, "a hidden folder"))
}

/// Returns true if the name of a folder has the form of a run id (a UUID).
fn is_run_id(name: &str) -> bool {
    let groups: Vec<_> = name.split('-').collect();
    let is_hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(is_hex)
}

fn extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}

fn is_slide(extension: &str) -> bool {
    [DICOM, ARCHIVE].contains(&extension) || EXTENSIONS.contains(&extension)
}

/// Returns duplicate files, each with its original. Files with the same length and checksum are equal. Of several equal
/// files, the original is the first in the table or, if none of them is in the table, the first by path. `row_index`
/// returns the index of a file in the table.
pub(super) fn duplicates<'a>(
    slides: impl Iterator<Item = (&'a Path, (u64, &'a str))>,
    row_index: impl Fn(&Path) -> Option<usize>,
) -> Vec<(PathBuf, PathBuf)> {
    let mut groups: BTreeMap<(u64, &str), BTreeSet<&Path>> = BTreeMap::new();
    for (path, content) in slides {
        groups.entry(content).or_default().insert(path);
    }
    let mut duplicates = Vec::new();
    for group in groups.into_values().filter(|group| group.len() > 1) {
        let original = group.iter().min_by_key(|path| (row_index(path).unwrap_or(usize::MAX), **path)).copied();
        let others = group.iter().filter(|path| Some(**path) != original);
        duplicates.extend(others.filter_map(|path| Some(((*path).to_owned(), original?.to_owned()))));
    }
    duplicates.sort();
    duplicates
}
