use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::dicom::input::Seekable;
use crate::dicom::{Header, Until};
use crate::error::Kind;
use crate::format::{Container, recognize};

/// DICOM files, sorted into slides and others. A scanner may write one file per level of a slide, and others for its
/// label and for annotations.
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
    /// One file per slide: the first with the most pixels. Files that cannot be read are included:
    /// [`read`](crate::read()) returns their error.
    pub slides: Vec<PathBuf>,
    /// All other files, each with the reason.
    pub others: Vec<(PathBuf, String)>,
}

impl DicomFiles {
    /// Sorts files by reading the start of each. Blocks.
    ///
    /// Files belong to one slide if they have the same Pyramid UID or, without one, the same Series Instance UID. A
    /// file without both is a slide by itself.
    pub fn among(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut files = Self::default();
        // The index in `slides` of each pyramid, and its number of pixels.
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
                    new.insert((files.slides.len(), header.pixel_count()));
                    files.slides.push(path);
                }
                Entry::Occupied(mut best) => {
                    let (place, pixels) = *best.get();
                    let lesser = if header.pixel_count() > pixels {
                        best.insert((place, header.pixel_count()));
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
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    match recognize(path, &mut file)? {
        Container::Dicom => Header::read(Seekable::new(file, length), Until::Header),
        Container::Tiff | Container::Archive => Err(Kind::Unknown),
    }
}
