use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::dicom::input::SeekableInput;
use crate::dicom::{Header, StopAt};
use crate::error::ErrorKind;
use crate::format::{Container, recognize};

/// DICOM files, divided into slides and other files. Many scanners write a slide as several files: one per resolution
/// level, and others for the label and for annotations.
///
/// ```no_run
/// use slide_metadata::DicomFiles;
///
/// let files = DicomFiles::group(["slide/0.dcm".into(), "slide/1.dcm".into(), "slide/label.dcm".into()]);
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
    /// One file per slide: the first of the files with the most pixels. Files that cannot be read are included, so that
    /// [`read`](crate::read()) reports the error.
    pub slides: Vec<PathBuf>,
    /// All other files, each with the reason why it is not a slide.
    pub others: Vec<(PathBuf, String)>,
}

impl DicomFiles {
    /// Divides files into slides and others by reading the start of each file. Blocks the calling thread.
    ///
    /// Files belong to one slide if they have the same Pyramid UID or, without one, the same Series Instance UID. A
    /// file without both is a slide by itself.
    pub fn group(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut files = Self::default();
        // For each pyramid, the index in `slides` and the number of pixels of its largest file.
        let mut pyramids: HashMap<String, (usize, u64)> = HashMap::new();
        let mut lower_levels = Vec::new();
        for path in paths {
            let Ok(header) = read_header(&path) else {
                files.slides.push(path);
                continue;
            };
            if let Some(reason) = header.not_a_slide_reason() {
                files.others.push((path, reason.to_string()));
                continue;
            }
            let Some(pyramid) = header.pyramid_uid() else {
                files.slides.push(path);
                continue;
            };
            match pyramids.entry(pyramid.to_owned()) {
                Entry::Vacant(new) => {
                    new.insert((files.slides.len(), header.pixel_count()));
                    files.slides.push(path);
                }
                Entry::Occupied(mut largest) => {
                    let (index, pixels) = *largest.get();
                    let smaller = if header.pixel_count() > pixels {
                        largest.insert((index, header.pixel_count()));
                        std::mem::replace(&mut files.slides[index], path)
                    } else {
                        path
                    };
                    lower_levels.push((smaller, index));
                }
            }
        }
        for (path, index) in lower_levels {
            let reason = format!("of the same slide as {}, at no higher resolution", files.slides[index].display());
            files.others.push((path, reason));
        }
        files
    }
}

fn read_header(path: &Path) -> Result<Header, ErrorKind> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    match recognize(path, &mut file)? {
        Container::Dicom => Header::read(SeekableInput::new(file, length), StopAt::Header),
        Container::Tiff | Container::Archive => Err(ErrorKind::Unknown),
    }
}
