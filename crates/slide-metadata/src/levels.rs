use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::dicom::{Header, Until};
use crate::error::Kind;
use crate::{Format, format};

/// Which of several DICOM files are slides. A scanner may write one file for each level of a slide, and others for its label
/// and what was drawn on it.
///
/// ```no_run
/// use slide_metadata::DicomFiles;
///
/// let files = DicomFiles::among(["slide/0.dcm".into(), "slide/1.dcm".into(), "slide/label.dcm".into()]);
/// for path in &files.slides {
///     println!("{}: {}", path.display(), slide_metadata::read(path)?.resolution);
/// }
/// for (path, reason) in &files.others {
///     println!("{}: {reason}", path.display());
/// }
/// # Ok::<(), slide_metadata::SlideError>(())
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DicomFiles {
    /// One file for each slide: the one with the most pixels, and the first one of those. Files that cannot be understood
    /// are here too: [`read`](crate::read) says what is wrong with them.
    pub slides: Vec<PathBuf>,
    /// All others, and what each is.
    pub others: Vec<(PathBuf, String)>,
}

impl DicomFiles {
    /// Looks at the beginning of each file. It blocks.
    ///
    /// Files are of one slide if they have the same Pyramid UID or, without one, the same Series Instance UID; a file without
    /// both is a slide of its own.
    pub fn among(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut files = Self::default();
        // Where in `slides` each pyramid is, with the number of its pixels.
        let mut pyramids: HashMap<String, (usize, u64)> = HashMap::new();
        let mut lower = Vec::new();
        for path in paths {
            let Ok(header) = header(&path) else {
                files.slides.push(path);
                continue;
            };
            if let Some(other) = header.other() {
                files.others.push((path, other.to_string()));
                continue;
            }
            let Some(pyramid) = header.pyramid() else {
                files.slides.push(path);
                continue;
            };
            match pyramids.entry(pyramid.to_owned()) {
                Entry::Vacant(new) => {
                    new.insert((files.slides.len(), header.pixels()));
                    files.slides.push(path);
                }
                Entry::Occupied(mut best) => {
                    let (place, pixels) = *best.get();
                    let lesser = if header.pixels() > pixels {
                        best.insert((place, header.pixels()));
                        std::mem::replace(&mut files.slides[place], path)
                    } else {
                        path
                    };
                    lower.push((lesser, place));
                }
            }
        }
        for (path, place) in lower {
            let text = format!("of the same slide as {}, at no higher resolution", files.slides[place].display());
            files.others.push((path, text));
        }
        files
    }
}

fn header(path: &Path) -> Result<Header, Kind> {
    let mut reader = BufReader::new(File::open(path)?);
    match format(&mut reader)? {
        Format::Dicom => Header::read(reader, Until::Header),
        Format::Tiff => Err(Kind::Unknown),
    }
}
