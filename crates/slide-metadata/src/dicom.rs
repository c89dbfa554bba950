//! Whole-slide images in DICOM (PS3.3, A.32.8): their elements are read one after the other up to the end of the
//! pixels, which nobody decodes.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};

use dicom_core::{PrimitiveValue, Tag};
use dicom_dictionary_std::{tags, uids};
use dicom_parser::StatefulDecode;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_transfer_syntax_registry::{TransferSyntax, TransferSyntaxIndex, TransferSyntaxRegistry};

use crate::error::{Damage, Kind};
use crate::resolution;

/// The elements begin behind a preamble of this length and the magic bytes (PS3.10, 7.1).
pub(crate) const PREAMBLE: u64 = 128;
pub(crate) const MAGIC: &[u8; 4] = b"DICM";
/// No element that is looked at is longer; one that says it is, is damaged.
const LONGEST: u32 = 64 * 1024;
/// So many sequences and items lie in each other at most: those of slides are a handful deep.
const DEEPEST: usize = 64;
/// Micrometres in a millimetre, which is what DICOM states lengths in.
const MICROMETRES: f64 = 1000.0;

/// What the elements of a file say, as far as it matters here.
#[derive(Debug, Default)]
pub(crate) struct Header {
    class: String,
    /// What kind of image it is, in words of the standard: the third value of Image Type (PS3.3, C.8.12.4.1.1).
    flavor: Option<String>,
    series: Option<String>,
    pyramid: Option<String>,
    columns: u32,
    rows: u32,
    spacing: Option<(f64, f64)>,
    is_concatenated: bool,
}

/// Why a DICOM file is none of those that are wanted, though nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// Another kind of document, such as an annotation or a segmentation.
    Class(String),
    /// An image of the slide that is not the one at high resolution: a label, an overview, a thumbnail.
    Flavor(String),
}

/// How far a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// What is said of all frames together.
    Header,
    /// Its end; `bytes` is where that is.
    End { bytes: u64 },
}

impl Header {
    /// Reads a file from behind its magic bytes.
    pub(crate) fn read(mut reader: impl Read + Seek, until: Until) -> Result<Self, Kind> {
        let syntax = transfer_syntax(&mut reader)?;
        let mut tokens = LazyDataSetReader::new_with_ts(reader, syntax).map_err(damaged)?;
        let (mut header, mut place) = (Self::default(), Place::default());
        let outcome = loop {
            // What comes behind the pixels is of no interest, and need not be DICOM: some pad with zeros.
            if place.is_past_pixels() {
                break Ok(());
            }
            match tokens.advance() {
                None => break Err(damaged("it ends before its pixels do")),
                Some(Err(error)) => break Err(damaged(error)),
                Some(Ok(token)) => {
                    if until == Until::Header && place.is_past_header(&token) {
                        return Ok(header);
                    }
                    if let Err(error) = place.follow(&token).and_then(|()| header.take(token, &place)) {
                        break Err(error);
                    }
                }
            }
        };
        let Until::End { bytes } = until else { return outcome.map(|()| header) };
        // What is skipped is missed by nobody.
        match tokens.into_decoder().position() {
            expected if expected > bytes && place.has_pixels => Err(Kind::Truncated { expected, actual: bytes }),
            _ => outcome.map(|()| header),
        }
    }

    fn take<S: StatefulDecode>(&mut self, token: LazyDataToken<S>, place: &Place) -> Result<(), Kind> {
        let LazyDataToken::LazyValue { header, .. } = &token else { return token.skip().map_err(damaged) };
        let (tag, is_root) = (header.tag, place.open.is_empty());
        match tag {
            tags::SOP_CLASS_UID if is_root => self.class = text(token)?,
            tags::IMAGE_TYPE if is_root => {
                self.flavor = value(token)?.to_multi_str().get(2).map(|flavor| flavor.trim().to_uppercase());
            }
            tags::SERIES_INSTANCE_UID if is_root => self.series = Some(text(token)?).filter(|uid| !uid.is_empty()),
            tags::PYRAMID_UID if is_root => self.pyramid = Some(text(token)?).filter(|uid| !uid.is_empty()),
            tags::CONCATENATION_UID if is_root => {
                self.is_concatenated = true;
                token.skip().map_err(damaged)?;
            }
            tags::TOTAL_PIXEL_MATRIX_COLUMNS if is_root => self.columns = value(token)?.to_int().map_err(damaged)?,
            tags::TOTAL_PIXEL_MATRIX_ROWS if is_root => self.rows = value(token)?.to_int().map_err(damaged)?,
            tags::PIXEL_SPACING if place.is_in_shared_measures() => {
                // Between rows, then between columns (PS3.3, 10.7.1.3).
                let [y, x] = value(token)?.to_multi_float64().map_err(damaged)?[..] else {
                    return Err(Kind::Resolution("it states its pixel spacing in another number of values than two"));
                };
                self.spacing = Some((x * MICROMETRES, y * MICROMETRES));
            }
            _ => token.skip().map_err(damaged)?,
        }
        Ok(())
    }

    /// Why it is no slide at high resolution.
    pub(crate) fn other(&self) -> Option<Other> {
        if self.class != uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE {
            return Some(Other::Class(self.class.clone()));
        }
        self.flavor.clone().filter(|flavor| flavor != "VOLUME").map(Other::Flavor)
    }

    /// What all levels of one slide have in common. Before pyramids had names, each was a series of its own.
    pub(crate) fn pyramid(&self) -> Option<&str> {
        self.pyramid.as_deref().or(self.series.as_deref())
    }

    pub(crate) fn pixels(&self) -> u64 {
        u64::from(self.columns) * u64::from(self.rows)
    }

    /// Width, height and resolution.
    pub(crate) fn measures(&self) -> Result<(u32, u32, f64), Kind> {
        if let Some(other) = self.other() {
            return Err(Kind::NoSlide(other));
        }
        if self.is_concatenated {
            return Err(Kind::Concatenated);
        }
        if self.pixels() == 0 {
            return Err(damaged("it does not state its size: Total Pixel Matrix Columns and Rows"));
        }
        let (x, y) = self.spacing.ok_or(Kind::Resolution("it has no pixel spacing"))?;
        Ok((self.columns, self.rows, resolution::of_square(x, y).map_err(Kind::Resolution)?))
    }
}

impl fmt::Display for Other {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) if class.is_empty() => formatter.write_str("does not say what kind of document it is"),
            Self::Class(class) => write!(formatter, "no whole-slide image, but of SOP class {class}"),
            Self::Flavor(flavor) if flavor.is_empty() => {
                formatter.write_str("does not say which image of a slide it is")
            }
            Self::Flavor(flavor) => write!(formatter, "the {} of a slide", flavor.to_lowercase()),
        }
    }
}

/// Where in the tree of elements a token stands.
#[derive(Default)]
struct Place {
    /// The sequences and items that are open.
    open: Vec<Open>,
    /// Its pixels have begun.
    has_pixels: bool,
    /// They are the one value that follows.
    has_value: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Sequence(Tag),
    Item,
}

impl Place {
    /// Delimiters that delimit nothing are an error here: the parser trusts them.
    fn follow<S>(&mut self, token: &LazyDataToken<S>) -> Result<(), Kind> {
        let fits = match token {
            LazyDataToken::SequenceStart { tag, .. } => {
                self.open.push(Open::Sequence(*tag));
                true
            }
            LazyDataToken::PixelSequenceStart => {
                self.has_pixels |= self.open.is_empty();
                self.open.push(Open::Sequence(tags::PIXEL_DATA));
                true
            }
            LazyDataToken::ItemStart { .. } => {
                self.open.push(Open::Item);
                true
            }
            LazyDataToken::ItemEnd => self.open.pop() == Some(Open::Item),
            LazyDataToken::SequenceEnd => matches!(self.open.pop(), Some(Open::Sequence(_))),
            LazyDataToken::ElementHeader(header) => {
                self.has_value = self.open.is_empty() && header.tag == tags::PIXEL_DATA;
                self.has_pixels |= self.has_value;
                true
            }
            _ => {
                self.has_value = false;
                true
            }
        };
        match fits {
            true if self.open.len() > DEEPEST => Err(damaged("its sequences lie too deep in each other")),
            true => Ok(()),
            false => Err(damaged("a delimiter delimits nothing")),
        }
    }

    fn is_past_header<S>(&self, token: &LazyDataToken<S>) -> bool {
        self.open.is_empty()
            && match token {
                LazyDataToken::SequenceStart { tag, .. } => *tag >= tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
                LazyDataToken::ElementHeader(header) => header.tag >= tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
                LazyDataToken::PixelSequenceStart => true,
                _ => false,
            }
    }

    /// Among what is said of the pixels of all frames.
    fn is_in_shared_measures(&self) -> bool {
        use Open::{Item, Sequence};
        let measures = [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PIXEL_MEASURES_SEQUENCE];
        self.open == measures.map(|tag| [Sequence(tag), Item]).concat()
    }

    fn is_past_pixels(&self) -> bool {
        self.has_pixels && !self.has_value && self.open.is_empty()
    }
}

/// How the elements are written: what the file meta information (PS3.10, 7.1) says, behind which the reader stands then.
fn transfer_syntax(reader: &mut (impl Read + Seek)) -> Result<&'static TransferSyntax, Kind> {
    let of = |uid: &str| TransferSyntaxRegistry.get(uid).filter(|syntax| syntax.can_decode_dataset());
    let unknown = |uid: &str| Kind::TransferSyntax(uid.to_owned());
    let plain = uids::EXPLICIT_VR_LITTLE_ENDIAN;
    let mut tokens =
        LazyDataSetReader::new_with_ts(&mut *reader, of(plain).ok_or_else(|| unknown(plain))?).map_err(damaged)?;
    let (mut end, mut found) = (None, None);
    while let Some(token) = tokens.advance() {
        let token = token.map_err(damaged)?;
        let (tag, next) = match &token {
            LazyDataToken::ElementHeader(_) => continue,
            LazyDataToken::LazyValue { header, decoder } => (header.tag, decoder.position() + u64::from(header.len.0)),
            _ => return Err(damaged("its file meta information has sequences")),
        };
        match tag {
            tags::FILE_META_INFORMATION_GROUP_LENGTH => {
                end = Some(next + u64::from(value(token)?.to_int::<u32>().map_err(damaged)?));
            }
            tags::TRANSFER_SYNTAX_UID => found = Some(text(token)?),
            _ => token.skip().map_err(damaged)?,
        }
        // Without a length, which comes first, there is no end to be found.
        if end.is_none_or(|end| next >= end) {
            break;
        }
    }
    let (Some(end), Some(uid)) = (end, found) else { return Err(damaged("it does not say how it is written")) };
    drop(tokens);
    reader.seek(SeekFrom::Start(end))?;
    of(&uid).ok_or_else(|| unknown(&uid))
}

/// What an element holds. Memory is not trusted to a length that a damaged file states.
fn value(token: LazyDataToken<impl StatefulDecode>) -> Result<PrimitiveValue, Kind> {
    match &token {
        LazyDataToken::LazyValue { header, .. } if header.len.0 > LONGEST => {
            Err(damaged(format!("{} says that it has {} bytes", header.tag, header.len.0)))
        }
        _ => token.into_value().map_err(damaged),
    }
}

fn text(token: LazyDataToken<impl StatefulDecode>) -> Result<String, Kind> {
    Ok(value(token)?.to_str().trim_end_matches(['\0', ' ']).to_owned())
}

fn damaged(reason: impl Into<Damage>) -> Kind {
    Kind::Malformed(reason.into())
}
