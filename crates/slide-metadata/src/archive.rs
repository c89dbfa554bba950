//! Zip archives of the DICOM files of one slide. Members are read as streams, without unpacking them to disk. The
//! number of members, their total size and the size of the central directory are limited.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use zip::ZipArchive;
use zip::result::ZipError;

use crate::description::{Format, ImageDescription, Role, SlideDescription, Warning};
use crate::dicom::input::StreamInput;
use crate::dicom::{self, Header, StopAt};
use crate::error::{ErrorKind, malformed};
use crate::identifier::Identifier;

/// The first bytes of zip archives with members and without members.
pub(crate) const MAGIC: [&[u8; 4]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
const MAX_MEMBERS: usize = 10_000;
/// The size that the unpacked members of an archive may always have, in bytes. A larger total size is limited to
/// [`MAX_UNPACKED_RATIO`] times the size of the archive plus this value, as protection against zip bombs.
const BASE_UNPACKED_BYTES: u64 = 16 * 1024 * 1024;
const MAX_UNPACKED_RATIO: u64 = 200;
/// The maximum size of the central directory in bytes.
const MAX_DIRECTORY_BYTES: u64 = 16 * 1024 * 1024;

/// Describes an archive of `length` bytes.
pub(crate) fn describe<R: Read + Seek>(source: R, length: u64) -> Result<SlideDescription, ErrorKind> {
    let mut archive = open(source)?;
    let mut files = DicomMembers::default();
    let (mut unpacked_bytes, max_bytes) =
        (0_u64, BASE_UNPACKED_BYTES.saturating_add(length.saturating_mul(MAX_UNPACKED_RATIO)));
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(error_kind)?;
        unpacked_bytes = unpacked_bytes.saturating_add(member.size());
        if unpacked_bytes > max_bytes {
            return Err(ErrorKind::Archive(format!("its unpacked members total more than {max_bytes} bytes")));
        }
        if member.is_file() {
            let name = String::from_utf8_lossy(member.name_raw()).chars().flat_map(char::escape_debug).collect();
            let size = member.size();
            files.add(name, member, size)?;
        }
    }
    files.describe(length)
}

/// Returns true if at least one member starts with the preamble and the magic bytes of DICOM.
pub(crate) fn has_dicom<R: Read + Seek>(source: R) -> Result<bool, ErrorKind> {
    let mut archive = open(source)?;
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(error_kind)?;
        if member.is_file() && is_dicom(&read_head(member)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn open<R: Read + Seek>(source: R) -> Result<ZipArchive<LimitedReader<R>>, ErrorKind> {
    let remaining = Rc::new(Cell::new(MAX_DIRECTORY_BYTES));
    let archive = ZipArchive::new(LimitedReader { source, remaining: Rc::clone(&remaining) }).map_err(error_kind)?;
    remaining.set(u64::MAX);
    if archive.len() > MAX_MEMBERS {
        return Err(ErrorKind::Archive(format!("it has {} members; the limit is {MAX_MEMBERS}", archive.len())));
    }
    Ok(archive)
}

fn is_dicom(head: &[u8]) -> bool {
    head.len() as u64 == dicom::PREAMBLE + dicom::MAGIC.len() as u64 && head.ends_with(dicom::MAGIC)
}

/// Returns the first bytes of a member, including the magic bytes of DICOM.
fn read_head(member: impl Read) -> io::Result<Vec<u8>> {
    let length = dicom::PREAMBLE + dicom::MAGIC.len() as u64;
    let mut head = Vec::new();
    member.take(length).read_to_end(&mut head)?;
    Ok(head)
}

/// The DICOM files of an archive.
#[derive(Default)]
struct DicomMembers {
    files: Vec<(String, Header)>,
    warnings: Vec<Warning>,
}

impl DicomMembers {
    fn add(&mut self, name: String, mut member: impl Read, size: u64) -> Result<(), ErrorKind> {
        let head = read_head(&mut member).map_err(|error| member_error(&name, &error.into()))?;
        if MAGIC.iter().any(|magic| head.starts_with(*magic)) {
            return Err(ErrorKind::Archive(format!("member '{name}' is an archive itself")));
        }
        if !is_dicom(&head) {
            self.warnings.push(Warning::IgnoredMember(name));
            return Ok(());
        }
        let input = StreamInput::new(head.as_slice().chain(member), size);
        let outcome = Header::read_from(input, StopAt::End).and_then(|(header, rest)| rest.finish().map(|()| header));
        self.files.push((name.clone(), outcome.map_err(|kind| member_error(&name, &kind))?));
        Ok(())
    }

    fn describe(mut self, length: u64) -> Result<SlideDescription, ErrorKind> {
        let images: Vec<_> = self.files.iter().filter(|(_, header)| header.is_slide_class()).collect();
        let volumes: Vec<_> = images.iter().filter(|(_, header)| header.role() == Role::Image).collect();
        let slides: BTreeSet<_> = volumes.iter().map(|(name, header)| header.pyramid_uid().unwrap_or(name)).collect();
        if slides.len() > 1 {
            return Err(ErrorKind::Archive(format!(
                "it contains {} slides; create one archive per slide",
                slides.len()
            )));
        }
        let image = volumes.iter().rev().max_by_key(|(_, header)| header.pixel_count());
        let Some((name, image)) = image else {
            return Err(ErrorKind::Archive("it contains no DICOM whole-slide image with the flavor VOLUME".to_owned()));
        };
        for (name, header) in &volumes {
            header.check().map_err(|kind| member_error(name, &kind))?;
        }
        let resolution = image.resolution().resolve_with_warnings(&mut self.warnings);
        let identifiers: BTreeSet<_> = self.files.iter().flat_map(|(name, header)| identifiers(name, header)).collect();
        Ok(SlideDescription {
            format: Format::DicomArchive,
            vendor: None,
            width: image.columns,
            height: image.rows,
            resolution,
            images: describe_images(&images, name),
            warnings: self.warnings,
            identifiers: identifiers.into_iter().collect(),
            bytes: length,
        })
    }
}

/// Returns the data in a member that may identify a patient.
fn identifiers(name: &str, header: &Header) -> Vec<Identifier> {
    let in_member =
        |identifier: Identifier| Identifier::new(identifier.kind, format!("{} in '{name}'", identifier.place));
    dicom::identifiers(header).into_iter().map(in_member).collect()
}

fn describe_images(images: &[&(String, Header)], main_image: &str) -> Vec<ImageDescription> {
    let volumes = images.iter().filter(|(_, header)| header.role() == Role::Image);
    let sizes: BTreeSet<_> = volumes.map(|(_, header)| Reverse(header.pixel_count())).collect();
    // A map instead of a search, because an archive can have thousands of levels.
    let levels: BTreeMap<_, _> = sizes.into_iter().zip(0_u32..).collect();
    let describe = |(name, header): &&(String, Header)| {
        let mut image = dicom::image(header, name);
        if image.role == Role::Image && name != main_image {
            image.role = Role::Level;
            image.level = levels.get(&Reverse(header.pixel_count())).copied();
        }
        image
    };
    images.iter().map(describe).collect()
}

fn member_error(name: &str, kind: &ErrorKind) -> ErrorKind {
    let reason = std::error::Error::source(kind).map_or_else(|| kind.to_string(), ToString::to_string);
    ErrorKind::Archive(format!("member '{name}': {reason}"))
}

fn error_kind(error: ZipError) -> ErrorKind {
    match error {
        ZipError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => malformed(error),
        ZipError::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => ErrorKind::Archive(error.to_string()),
        ZipError::UnsupportedArchive(reason) => ErrorKind::Archive(reason.to_string()),
        error => malformed(error.to_string()),
    }
}

/// A reader that fails after `remaining` bytes. The limit is shared with `open`, which removes it after the directory.
struct LimitedReader<R> {
    source: R,
    remaining: Rc<Cell<u64>>,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        match self.remaining.get().checked_sub(read as u64) {
            Some(remaining) => {
                self.remaining.set(remaining);
                Ok(read)
            }
            None => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("its central directory is larger than {MAX_DIRECTORY_BYTES} bytes"),
            )),
        }
    }
}

impl<R: Seek> Seek for LimitedReader<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.source.seek(position)
    }
}
