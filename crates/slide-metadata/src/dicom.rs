//! Whole-slide images in DICOM (PS3.3, A.32.8). Elements are read sequentially up to the end of the pixels, which are
//! not decoded.

pub(crate) mod confidential;
mod elements;
mod header;
pub(crate) mod input;
mod pixels;

use std::io::{Read, Seek};

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::Endianness;
use dicom_transfer_syntax_registry::{TransferSyntax, TransferSyntaxIndex, TransferSyntaxRegistry};

use crate::description::{Format, ImageDescription, Role, SlideDescription, Warning};
use crate::error::{ErrorKind, malformed};
use crate::identifier::{Identifier, IdentifierKind};
use elements::{EXPLICIT, Elements, Encoding, Token};
pub(crate) use header::{Header, StopAt};
use input::{Input, SeekableInput, StreamInput};

/// The length of the preamble in bytes. The magic bytes and the elements follow it (PS3.10, 7.1).
pub(crate) const PREAMBLE: u64 = 128;
pub(crate) const MAGIC: &[u8; 4] = b"DICM";
/// The maximum length in bytes of a value that is read. A longer value is an error.
const MAX_VALUE: u32 = 64 * 1024;

/// The start of the data set of a file, after its meta information.
struct DataSetStart<I> {
    elements: Elements<I>,
    syntax: &'static TransferSyntax,
    sop_class: String,
    /// The first tag of the data set. It has already been read from `elements`.
    first_tag: Tag,
}

/// Reads the file meta information (PS3.10, 7.1) after the magic bytes, up to the data set.
///
/// The group length is ignored, because some writers omit it or write a wrong value. The meta information ends where
/// another group starts.
fn read_meta_information<I: Input>(mut input: I) -> Result<DataSetStart<I>, ErrorKind> {
    input.skip(PREAMBLE + MAGIC.len() as u64)?;
    let mut elements = Elements::new(input, EXPLICIT);
    let (mut transfer_syntax, mut sop_class) = (None, String::new());
    loop {
        let tag = elements.read_tag()?;
        if tag.group() != 0x0002 {
            let transfer_syntax: String =
                transfer_syntax.ok_or_else(|| malformed("it does not state its transfer syntax"))?;
            let syntax = TransferSyntaxRegistry.get(&transfer_syntax).filter(|syntax| syntax.can_decode_dataset());
            let syntax = syntax.ok_or(ErrorKind::TransferSyntax(transfer_syntax))?;
            return Ok(DataSetStart { elements, syntax, sop_class, first_tag: tag });
        }
        match elements.read_element(tag)? {
            Token::Value { length, .. } if tag == tags::TRANSFER_SYNTAX_UID => {
                transfer_syntax = Some(read_text(&mut elements, tag, length)?);
            }
            Token::Value { length, .. } if tag == tags::MEDIA_STORAGE_SOP_CLASS_UID => {
                sop_class = read_text(&mut elements, tag, length)?;
            }
            Token::Value { length, .. } => elements.skip(tag, length)?,
            _ => return Err(malformed("its file meta information has sequences")),
        }
    }
}

fn data_set_encoding(syntax: &TransferSyntax) -> Encoding {
    // All other transfer syntaxes have explicit value representations (PS3.5, A.1).
    let is_explicit = syntax.uid() != uids::IMPLICIT_VR_LITTLE_ENDIAN;
    Encoding { is_explicit, is_big_endian: syntax.endianness() == Endianness::Big }
}

fn read_bytes(elements: &mut Elements<impl Input>, tag: Tag, length: u32) -> Result<Vec<u8>, ErrorKind> {
    if length > MAX_VALUE {
        return Err(malformed(format!("{tag} has {length} bytes")));
    }
    let mut value = vec![0; usize::try_from(length).unwrap_or_default()];
    elements.input.fill(&mut value)?;
    Ok(value)
}

/// Returns a value as text, without padding.
fn read_text(elements: &mut Elements<impl Input>, tag: Tag, length: u32) -> Result<String, ErrorKind> {
    let value = read_bytes(elements, tag, length)?;
    Ok(String::from_utf8_lossy(&value).trim_matches(['\0', ' ']).to_owned())
}

/// Reads an unsigned integer of 2 or 4 bytes.
fn read_number(elements: &mut Elements<impl Input>, tag: Tag, length: u32) -> Result<u32, ErrorKind> {
    let big_endian = elements.encoding().is_big_endian;
    let value = read_bytes(elements, tag, length)?;
    let number = match (value.as_slice(), big_endian) {
        ([a, b], false) => u32::from(u16::from_le_bytes([*a, *b])),
        ([a, b], true) => u32::from(u16::from_be_bytes([*a, *b])),
        ([a, b, c, d], false) => u32::from_le_bytes([*a, *b, *c, *d]),
        ([a, b, c, d], true) => u32::from_be_bytes([*a, *b, *c, *d]),
        _ => return Err(malformed(format!("{tag} is not a number"))),
    };
    Ok(number)
}

/// Returns true if a transfer syntax is for video. A fragment of a video contains many frames.
fn is_video(syntax: &TransferSyntax) -> bool {
    let transfer_syntax = syntax.uid();
    let mpeg2 = [uids::MPEG2MPML, uids::MPEG2MPHL];
    mpeg2.contains(&transfer_syntax)
        || transfer_syntax.starts_with("1.2.840.10008.1.2.4.10")
            && transfer_syntax.len() > "1.2.840.10008.1.2.4.10".len()
}

/// Describes a file of `length` bytes.
pub(crate) fn describe(source: impl Read + Seek, length: u64) -> Result<SlideDescription, ErrorKind> {
    description(&Header::read(SeekableInput::new(source, length), StopAt::End)?, length)
}

/// Describes a file of `length` bytes. Reads all bytes once and in order, so that `source` can compute a checksum.
pub(crate) fn describe_stream(source: impl Read, length: u64) -> Result<SlideDescription, ErrorKind> {
    let (header, rest) = Header::read_from(StreamInput::new(source, length), StopAt::End)?;
    let description = description(&header, length)?;
    rest.finish()?;
    Ok(description)
}

fn description(header: &Header, length: u64) -> Result<SlideDescription, ErrorKind> {
    header.check()?;
    let mut warnings = Vec::new();
    if header.role() != Role::Image {
        warnings.push(Warning::NotTheImage(header.role()));
    }
    Ok(SlideDescription {
        format: Format::Dicom,
        vendor: None,
        width: header.columns,
        height: header.rows,
        resolution: header.resolution().resolve_with_warnings(&mut warnings),
        images: vec![image(header, "the file")],
        warnings,
        identifiers: identifiers(header),
        bytes: length,
    })
}

pub(crate) fn image(header: &Header, place: &str) -> ImageDescription {
    let role = header.role();
    ImageDescription {
        place: place.to_owned(),
        role,
        width: header.columns,
        height: header.rows,
        level: (role == Role::Image).then_some(0),
        compression: header.syntax.to_owned(),
        tile: Some((header.pixels.columns, header.pixels.rows)),
    }
}

/// Returns the data in a file that may identify a patient.
pub(crate) fn identifiers(header: &Header) -> Vec<Identifier> {
    let mut identifiers = header.identifiers.clone();
    match header.role() {
        Role::Label => identifiers.insert(Identifier::new(IdentifierKind::Label, "the image")),
        Role::Macro => identifiers.insert(Identifier::new(IdentifierKind::Macro, "the image")),
        _ => false,
    };
    identifiers.into_iter().collect()
}
