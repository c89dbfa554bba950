//! The attributes of a DICOM file that matter for a slide.

use std::collections::BTreeSet;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};

use super::elements::{Elements, Token};
use super::input::Input;
use super::pixels::Pixels;
use super::{DataSetStart, confidential, data_set_encoding, is_video, read_meta_information, read_number, read_text};
use crate::description::Role;
use crate::error::{ErrorKind, NotASlide, malformed, quoted};
use crate::identifier::{Identifier, IdentifierKind};
use crate::resolution::{MILLIMETER, Resolution, ResolutionSource, is_length, parse_scaled_length};
use crate::stated_resolution::StatedResolution;

const SPACING: &str = "Pixel Spacing in the functional groups";

/// The attributes of a file.
#[derive(Debug, Default)]
pub(crate) struct Header {
    sop_class: String,
    /// The third value of Image Type (PS3.3, C.8.12.4.1.1).
    flavor: Option<String>,
    series_uid: Option<String>,
    pyramid_uid: Option<String>,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) pixels: Pixels,
    spacing: Option<String>,
    frame_spacings: FrameSpacings,
    is_concatenated: bool,
    /// The number of files in the concatenation.
    concatenation_parts: u32,
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
    pub(crate) fn read(input: impl Input, stop_at: StopAt) -> Result<Self, ErrorKind> {
        Ok(Self::read_from(input, stop_at)?.0)
    }

    /// Reads a file and also returns the input, whose position is after the pixels.
    pub(crate) fn read_from<I: Input>(input: I, stop_at: StopAt) -> Result<(Self, I), ErrorKind> {
        let DataSetStart { elements, syntax, sop_class, first_tag } = read_meta_information(input)?;
        let mut header = Self { syntax: syntax.name(), sop_class, ..Self::default() };
        header.pixels.is_video = is_video(syntax);
        let mut elements = Elements::new(elements.input, data_set_encoding(syntax));
        let mut token = elements.first_token(first_tag)?;
        loop {
            match token {
                // DICOM documents that are not slides, such as annotations and reports, may have no pixels.
                Token::End if !(header.sop_class.is_empty() || header.is_slide_class()) => {
                    return Ok((header, elements.input));
                }
                Token::End => return Err(malformed("it ends before its pixels")),
                Token::Sequence(tag) | Token::Fragments(tag) | Token::Value { tag, .. }
                    if stop_at == StopAt::Header && elements.is_header_end(tag) =>
                {
                    return Ok((header, elements.input));
                }
                Token::Sequence(tag) => {
                    header.pixels.has_frame_groups |= tag == tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE;
                    header.record_identifier(tag, VR::SQ, &elements);
                }
                Token::Fragments(tag) => {
                    let is_image = elements.is_root();
                    header.pixels.read_fragments(&mut elements, tag, is_image)?;
                    if is_image {
                        return header.check_tiles_and_finish(elements);
                    }
                }
                Token::Value { tag, length, .. } if tag == tags::PIXEL_DATA && elements.is_root() => {
                    elements.skip(tag, length)?;
                    header.pixels.check_native(length)?;
                    return header.check_tiles_and_finish(elements);
                }
                Token::Value { tag, vr, length } => {
                    if length > 0 {
                        header.record_identifier(tag, vr, &elements);
                    }
                    header.read_attribute(tag, length, &mut elements)?;
                }
            }
            token = elements.next_token()?;
        }
    }

    fn check_tiles_and_finish<I: Input>(self, elements: Elements<I>) -> Result<(Self, I), ErrorKind> {
        self.pixels.check_tiles(self.columns, self.rows)?;
        Ok((self, elements.input))
    }

    fn record_identifier(&mut self, tag: Tag, vr: VR, elements: &Elements<impl Input>) {
        let is_root = elements.path().all(|open| open == tag);
        self.identifiers.extend(confidential::identifier(tag, vr, is_root));
    }

    /// Reads or skips a value.
    fn read_attribute<I: Input>(&mut self, tag: Tag, length: u32, elements: &mut Elements<I>) -> Result<(), ErrorKind> {
        let is_root = elements.is_root();
        let uid = |elements: &mut Elements<I>| {
            Ok::<_, ErrorKind>(Some(read_text(elements, tag, length)?).filter(|uid| !uid.is_empty()))
        };
        match tag {
            tags::SOP_CLASS_UID if is_root => self.sop_class = read_text(elements, tag, length)?,
            tags::IMAGE_TYPE if is_root => {
                let value = read_text(elements, tag, length)?;
                self.flavor = value.split('\\').nth(2).map(|flavor| flavor.trim().to_uppercase());
            }
            tags::SERIES_INSTANCE_UID if is_root => self.series_uid = uid(elements)?,
            tags::PYRAMID_UID if is_root => self.pyramid_uid = uid(elements)?,
            tags::CONCATENATION_UID if is_root => {
                self.is_concatenated = true;
                elements.skip(tag, length)?;
            }
            tags::IN_CONCATENATION_TOTAL_NUMBER if is_root => {
                self.concatenation_parts = read_number(elements, tag, length)?;
            }
            tags::TOTAL_PIXEL_MATRIX_COLUMNS if is_root => self.columns = read_number(elements, tag, length)?,
            tags::TOTAL_PIXEL_MATRIX_ROWS if is_root => self.rows = read_number(elements, tag, length)?,
            tags::SPECIMEN_LABEL_IN_IMAGE | tags::BURNED_IN_ANNOTATION if is_root => {
                if read_text(elements, tag, length)? == "YES" {
                    self.identifiers
                        .insert(Identifier::new(IdentifierKind::Label, confidential::tag_with_keyword(tag)));
                }
            }
            tags::PIXEL_SPACING if elements.path().eq(SHARED_SPACING_PATH) => {
                self.spacing = Some(read_text(elements, tag, length)?);
            }
            tags::PIXEL_SPACING if elements.path().eq(FRAME_SPACING_PATH) => {
                self.frame_spacings.add(read_text(elements, tag, length)?);
            }
            _ if is_root && self.pixels.read_attribute(tag, length, elements)? => {}
            _ => elements.skip(tag, length)?,
        }
        Ok(())
    }

    /// Returns the reason why the file is not a whole-slide image at full resolution, or `None` if it is.
    pub(crate) fn not_a_slide_reason(&self) -> Option<NotASlide> {
        if self.sop_class != uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE {
            return Some(NotASlide::Class(self.sop_class.clone()));
        }
        self.flavor.clone().filter(|flavor| flavor != "VOLUME").map(NotASlide::Flavor)
    }

    pub(crate) fn is_slide_class(&self) -> bool {
        self.sop_class == uids::VL_WHOLE_SLIDE_MICROSCOPY_IMAGE_STORAGE
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

    /// Returns the UID that all levels of a slide share: the Pyramid UID or, without it, the Series Instance UID.
    pub(crate) fn pyramid_uid(&self) -> Option<&str> {
        self.pyramid_uid.as_deref().or(self.series_uid.as_deref())
    }

    pub(crate) fn pixel_count(&self) -> u64 {
        u64::from(self.columns) * u64::from(self.rows)
    }

    /// Checks that the file is a whole-slide image, has a size, and is not a part of a concatenation.
    pub(crate) fn check(&self) -> Result<(), ErrorKind> {
        if !self.is_slide_class() {
            return Err(ErrorKind::NotASlide(NotASlide::Class(self.sop_class.clone())));
        }
        if self.is_concatenated && self.concatenation_parts != 1 {
            return Err(ErrorKind::Concatenated);
        }
        if self.pixel_count() == 0 {
            return Err(malformed("it does not state its size: Total Pixel Matrix Columns and Rows"));
        }
        Ok(())
    }

    /// Returns the resolution if it is the same for all frames. A file contains one value for all frames, or once per
    /// frame.
    pub(crate) fn resolution(&self) -> StatedResolution {
        let looked_for = SPACING.to_owned();
        let (frame_spacings, frame_count) = (&self.frame_spacings, self.pixels.frames());
        let first_frame_spacing = frame_spacings.first.as_ref();
        let found = match (&self.spacing, first_frame_spacing) {
            (None, None) => "nothing".to_owned(),
            (None, Some(_)) if frame_spacings.differ => "different values in its frames".to_owned(),
            (None, Some(_)) if frame_spacings.count < frame_count => {
                format!("values in {} of {frame_count} frames", frame_spacings.count)
            }
            (Some(shared), Some(first_frame_spacing))
                if frame_spacings.differ || parse_spacing(shared) != parse_spacing(first_frame_spacing) =>
            {
                format!("{} and another value in its frames", quoted(shared))
            }
            // Row spacing, then column spacing (PS3.3, 10.7.1.3).
            (Some(spacing), _) | (None, Some(spacing)) => match parse_spacing(spacing)[..] {
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
fn parse_spacing(spacing: &str) -> Vec<Option<f64>> {
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
            Some(first) => self.differ |= *first != spacing && parse_spacing(first) != parse_spacing(&spacing),
        }
    }
}

/// The path of the Pixel Spacing that all frames share.
const SHARED_SPACING_PATH: [Tag; 2] = [tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags::PIXEL_MEASURES_SEQUENCE];
/// The path of the Pixel Spacing of one frame.
const FRAME_SPACING_PATH: [Tag; 2] = [tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, tags::PIXEL_MEASURES_SEQUENCE];

impl<I: Input> Elements<I> {
    /// Returns true if `tag` is the tag of a root element that comes after the attributes that all frames share.
    /// Elements are sorted by tag.
    fn is_header_end(&self, tag: Tag) -> bool {
        // If `tag` is a sequence, the reader has already entered it.
        let depth = self.path().filter(|open| *open != tag).count();
        depth == 0 && tag >= tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE
    }
}
