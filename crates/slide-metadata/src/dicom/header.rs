//! The attributes of a DICOM file that matter for a slide.

use std::collections::BTreeSet;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};

use super::elements::{Elements, Token};
use super::input::Input;
use super::pixels::Pixels;
use super::{Opened, confidential, encoding, is_video, number, open, text};
use crate::description::Role;
use crate::error::{Kind, Other, malformed, quoted};
use crate::identifier::{Identifier, IdentifierKind};
use crate::resolution::{MILLIMETER, Resolution, ResolutionSource, is_length, parse_scaled_length};
use crate::stated::StatedResolution;

const SPACING: &str = "Pixel Spacing in the functional groups";

/// The attributes of a file.
#[derive(Debug, Default)]
pub(crate) struct Header {
    class: String,
    /// The third value of Image Type (PS3.3, C.8.12.4.1.1).
    flavor: Option<String>,
    series: Option<String>,
    pyramid: Option<String>,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) pixels: Pixels,
    spacing: Option<String>,
    frame_spacings: FrameSpacings,
    is_concatenated: bool,
    /// The number of files in the concatenation.
    parts: u32,
    /// The name of the transfer syntax.
    pub(crate) syntax: &'static str,
    pub(crate) identifiers: BTreeSet<Identifier>,
}

/// The part of a file after which reading stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopAt {
    /// The attributes that all frames share.
    Header,
    /// The pixels.
    End,
}

impl Header {
    /// Reads a file from its start. The caller has checked the magic bytes.
    pub(crate) fn read(input: impl Input, until: StopAt) -> Result<Self, Kind> {
        Ok(Self::read_from(input, until)?.0)
    }

    /// Reads a file, and also returns the input, positioned after the pixels.
    pub(crate) fn read_from<I: Input>(input: I, until: StopAt) -> Result<(Self, I), Kind> {
        let Opened { elements, syntax, class, first } = open(input)?;
        let mut header = Self { syntax: syntax.name(), class, ..Self::default() };
        header.pixels.is_video = is_video(syntax);
        let mut elements = Elements::new(elements.input, encoding(syntax));
        let mut token = elements.first(first)?;
        loop {
            match token {
                // Other DICOM documents, such as annotations and reports, may have no pixels.
                Token::End if !(header.class.is_empty() || header.is_slide_class()) => {
                    return Ok((header, elements.input));
                }
                Token::End => return Err(malformed("it ends before its pixels")),
                Token::Sequence(tag) | Token::Fragments(tag) | Token::Value { tag, .. }
                    if until == StopAt::Header && elements.is_header_end(tag) =>
                {
                    return Ok((header, elements.input));
                }
                Token::Sequence(tag) => {
                    header.pixels.has_frame_groups |= tag == tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE;
                    header.identify(tag, VR::SQ, &elements);
                }
                Token::Fragments(tag) => {
                    let is_image = elements.is_root();
                    header.pixels.fragments(&mut elements, tag, is_image)?;
                    if is_image {
                        return header.finish(elements);
                    }
                }
                Token::Value { tag, length, .. } if tag == tags::PIXEL_DATA && elements.is_root() => {
                    elements.pass(tag, length)?;
                    header.pixels.native(length)?;
                    return header.finish(elements);
                }
                Token::Value { tag, vr, length } => {
                    if length > 0 {
                        header.identify(tag, vr, &elements);
                    }
                    header.take(tag, length, &mut elements)?;
                }
            }
            token = elements.next()?;
        }
    }

    fn finish<I: Input>(self, elements: Elements<I>) -> Result<(Self, I), Kind> {
        self.pixels.check_tiles(self.columns, self.rows)?;
        Ok((self, elements.input))
    }

    fn identify(&mut self, tag: Tag, vr: VR, elements: &Elements<impl Input>) {
        let is_root = elements.path().all(|open| open == tag);
        self.identifiers.extend(confidential::identifier(tag, vr, is_root));
    }

    /// Reads or skips a value.
    fn take<I: Input>(&mut self, tag: Tag, length: u32, elements: &mut Elements<I>) -> Result<(), Kind> {
        let is_root = elements.is_root();
        let uid = |elements: &mut Elements<I>| {
            Ok::<_, Kind>(Some(text(elements, tag, length)?).filter(|uid| !uid.is_empty()))
        };
        match tag {
            tags::SOP_CLASS_UID if is_root => self.class = text(elements, tag, length)?,
            tags::IMAGE_TYPE if is_root => {
                let value = text(elements, tag, length)?;
                self.flavor = value.split('\\').nth(2).map(|flavor| flavor.trim().to_uppercase());
            }
            tags::SERIES_INSTANCE_UID if is_root => self.series = uid(elements)?,
            tags::PYRAMID_UID if is_root => self.pyramid = uid(elements)?,
            tags::CONCATENATION_UID if is_root => {
                self.is_concatenated = true;
                elements.pass(tag, length)?;
            }
            tags::IN_CONCATENATION_TOTAL_NUMBER if is_root => self.parts = number(elements, tag, length)?,
            tags::TOTAL_PIXEL_MATRIX_COLUMNS if is_root => self.columns = number(elements, tag, length)?,
            tags::TOTAL_PIXEL_MATRIX_ROWS if is_root => self.rows = number(elements, tag, length)?,
            tags::SPECIMEN_LABEL_IN_IMAGE | tags::BURNED_IN_ANNOTATION if is_root => {
                if text(elements, tag, length)? == "YES" {
                    self.identifiers
                        .insert(Identifier::new(IdentifierKind::Label, confidential::tag_with_keyword(tag)));
                }
            }
            tags::PIXEL_SPACING if elements.path().eq(MEASURES) => self.spacing = Some(text(elements, tag, length)?),
            tags::PIXEL_SPACING if elements.path().eq(FRAME_MEASURES) => {
                self.frame_spacings.add(text(elements, tag, length)?);
            }
            _ if is_root && self.pixels.take(tag, length, elements)? => {}
            _ => elements.pass(tag, length)?,
        }
        Ok(())
    }

    /// Returns the reason why the file is not a whole-slide image at full resolution, or `None` if it is one.
    pub(crate) fn other(&self) -> Option<Other> {
        if self.class != uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE {
            return Some(Other::Class(self.class.clone()));
        }
        self.flavor.clone().filter(|flavor| flavor != "VOLUME").map(Other::Flavor)
    }

    pub(crate) fn is_slide_class(&self) -> bool {
        self.class == uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE
    }

    /// Returns the role of the image by its flavor (PS3.3, C.8.12.4.1.1).
    pub(crate) fn role(&self) -> Role {
        match self.flavor.as_deref() {
            None | Some("VOLUME") => Role::Image,
            Some("LABEL") => Role::Label,
            Some("OVERVIEW") => Role::Macro,
            Some("THUMBNAIL") => Role::Thumbnail,
            Some(_) => Role::Mask,
        }
    }

    /// Returns the identifier that all levels of a slide share: the Pyramid UID, or the Series Instance UID without one.
    pub(crate) fn pyramid(&self) -> Option<&str> {
        self.pyramid.as_deref().or(self.series.as_deref())
    }

    pub(crate) fn pixel_count(&self) -> u64 {
        u64::from(self.columns) * u64::from(self.rows)
    }

    /// Checks that the file is a whole-slide image, has a size, and is not a part of a concatenation.
    pub(crate) fn check(&self) -> Result<(), Kind> {
        if !self.is_slide_class() {
            return Err(Kind::NoSlide(Other::Class(self.class.clone())));
        }
        if self.is_concatenated && self.parts != 1 {
            return Err(Kind::Concatenated);
        }
        if self.pixel_count() == 0 {
            return Err(malformed("it does not state its size: Total Pixel Matrix Columns and Rows"));
        }
        Ok(())
    }

    /// Returns the resolution that all frames have. The file contains it once for all frames, or once per frame.
    pub(crate) fn resolution(&self) -> StatedResolution {
        let looked_for = SPACING.to_owned();
        let (frames, frame_count) = (&self.frame_spacings, self.pixels.frames());
        let first = frames.first.as_ref();
        let found = match (&self.spacing, first) {
            (None, None) => "nothing".to_owned(),
            (None, Some(_)) if frames.differ => "different values in its frames".to_owned(),
            (None, Some(_)) if frames.count < frame_count => {
                format!("values in {} of {frame_count} frames", frames.count)
            }
            (Some(shared), Some(first)) if frames.differ || sides(shared) != sides(first) => {
                format!("{} and another value in its frames", quoted(shared))
            }
            // Row spacing, then column spacing (PS3.3, 10.7.1.3).
            (Some(spacing), _) | (None, Some(spacing)) => match sides(spacing)[..] {
                [Some(y), Some(x)] if is_length(x) => {
                    return StatedResolution::Found(Resolution::new(x, y, ResolutionSource::DicomPixelSpacing));
                }
                _ => quoted(spacing),
            },
        };
        StatedResolution::Missing { looked_for, found }
    }
}

/// Parses a Pixel Spacing, in millimeters, and returns its values in micrometers.
fn sides(spacing: &str) -> Vec<Option<f64>> {
    spacing.split('\\').map(|side| parse_scaled_length(side, MILLIMETER)).collect()
}

/// The Pixel Spacing values of individual frames.
#[derive(Debug, Default)]
struct FrameSpacings {
    first: Option<String>,
    count: u64,
    differ: bool,
}

impl FrameSpacings {
    fn add(&mut self, spacing: String) {
        self.count += 1;
        match &self.first {
            None => self.first = Some(spacing),
            Some(first) => self.differ |= *first != spacing && sides(first) != sides(&spacing),
        }
    }
}

/// The path of the Pixel Spacing that all frames share.
const MEASURES: [Tag; 2] = [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PIXEL_MEASURES_SEQUENCE];
/// The path of the Pixel Spacing of one frame.
const FRAME_MEASURES: [Tag; 2] = [tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, tags::PIXEL_MEASURES_SEQUENCE];

impl<I: Input> Elements<I> {
    /// Returns true if `tag` is the tag of a root element that comes after the attributes that all frames share. Elements
    /// are sorted by tag.
    fn is_header_end(&self, tag: Tag) -> bool {
        // If `tag` is a sequence, the reader has already entered it.
        let depth = self.path().filter(|open| *open != tag).count();
        depth == 0 && tag >= tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE
    }
}
