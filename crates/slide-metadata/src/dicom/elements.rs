//! The elements of a data set (PS3.5, section 7), read sequentially and without recursion.

use dicom_core::Tag;
use dicom_core::VR;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::input::Input;
use crate::error::{Kind, malformed};

/// The maximum nesting depth of sequences and items. Real slides have only a few levels.
const MAX_DEPTH: usize = 64;
/// The length of a sequence, an item or a value that ends with a delimiter (PS3.5, 7.1.1).
const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// The encoding of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) is_explicit: bool,
    pub(crate) is_big_endian: bool,
}

pub(crate) const EXPLICIT: Encoding = Encoding { is_explicit: true, is_big_endian: false };
const IMPLICIT: Encoding = Encoding { is_explicit: false, is_big_endian: false };

/// The next part of a data set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    /// An element whose value of `length` bytes follows.
    Value { tag: Tag, vr: VR, length: u32 },
    /// A sequence, which may be empty.
    Sequence(Tag),
    /// Encapsulated pixels: fragments follow as items, up to a sequence delimiter (PS3.5, A.4).
    Fragments(Tag),
    /// The end of the data set.
    End,
}

/// An open sequence or item.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// The tag of the sequence; `None` for an item.
    sequence: Option<Tag>,
    /// The position after the last byte; `None` if the length is undefined.
    end: Option<u64>,
    encoding: Encoding,
}

/// A reader of elements.
#[derive(Debug)]
pub(crate) struct Elements<I> {
    pub(crate) input: I,
    encoding: Encoding,
    open: Vec<Open>,
}

impl<I: Input> Elements<I> {
    pub(crate) fn new(input: I, encoding: Encoding) -> Self {
        Self { input, encoding, open: Vec::new() }
    }

    /// Returns the tags of the open sequences.
    pub(crate) fn path(&self) -> impl Iterator<Item = Tag> {
        self.open.iter().filter_map(|open| open.sequence)
    }

    pub(crate) fn is_root(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns the next token. The previous value must have been read or skipped.
    pub(crate) fn next(&mut self) -> Result<Token, Kind> {
        loop {
            self.close()?;
            if self.open.is_empty() && self.input.position() == self.input.length() {
                return Ok(Token::End);
            }
            let tag = self.tag()?;
            match self.open.last().copied() {
                Some(Open { sequence: Some(_), end, encoding }) => self.item(tag, end, encoding)?,
                Some(Open { sequence: None, end: None, .. }) if tag == ITEM_END => {
                    self.number(4)?;
                    self.open.pop();
                }
                _ if tag.0 == 0xFFFE => return Err(malformed("a delimiter outside of a sequence")),
                _ => return self.element(tag),
            }
        }
    }

    /// Closes the sequences and items of defined length that end at the current position.
    fn close(&mut self) -> Result<(), Kind> {
        while let Some(end) = self.open.last().and_then(|open| open.end) {
            match self.input.position() {
                position if position < end => break,
                position if position > end => {
                    return Err(malformed("an element is longer than the sequence or item that contains it"));
                }
                _ => self.open.pop(),
            };
        }
        Ok(())
    }

    /// Reads an item of the open sequence, or its end.
    fn item(&mut self, tag: Tag, end: Option<u64>, encoding: Encoding) -> Result<(), Kind> {
        let length = self.length()?;
        match tag {
            ITEM => self.push(None, length, encoding),
            SEQUENCE_END if end.is_none() => {
                self.open.pop();
                Ok(())
            }
            _ => Err(malformed(format!("{tag} in a sequence, where an item is expected"))),
        }
    }

    /// Returns the token for the first tag of the data set. `tag` was read as little endian with the file meta
    /// information.
    pub(super) fn first(&mut self, tag: Tag) -> Result<Token, Kind> {
        let tag = if self.encoding.is_big_endian { Tag(tag.0.swap_bytes(), tag.1.swap_bytes()) } else { tag };
        match tag.0 {
            0xFFFE => Err(malformed("a delimiter outside of a sequence")),
            _ => self.element(tag),
        }
    }

    /// Returns the token for `tag`, which has already been read.
    pub(super) fn element(&mut self, tag: Tag) -> Result<Token, Kind> {
        let encoding = self.open.last().map_or(self.encoding, |open| open.encoding);
        let (vr, length) = if encoding.is_explicit { self.explicit()? } else { (implicit_vr(tag), self.length()?) };
        if length == UNDEFINED && tag == tags::PIXEL_DATA {
            return Ok(Token::Fragments(tag));
        }
        match (vr, length) {
            (VR::SQ, _) => self.push(Some(tag), length, encoding)?,
            // CP-246: an unknown element of undefined length contains a sequence with implicit VR.
            (VR::UN, UNDEFINED) => self.push(Some(tag), length, IMPLICIT)?,
            // A system that does not know the attribute writes a sequence of defined length as UN. Its items have
            // implicit VR (PS3.5, 6.2.2).
            (VR::UN, _) if implicit_vr(tag) == VR::SQ => self.push(Some(tag), length, IMPLICIT)?,
            (_, UNDEFINED) if !encoding.is_explicit => self.push(Some(tag), length, encoding)?,
            (_, UNDEFINED) => return Err(malformed(format!("{tag} does not state its length"))),
            _ => return Ok(Token::Value { tag, vr, length }),
        }
        Ok(Token::Sequence(tag))
    }

    fn push(&mut self, sequence: Option<Tag>, length: u32, encoding: Encoding) -> Result<(), Kind> {
        let end = (length != UNDEFINED).then(|| self.input.position() + u64::from(length));
        self.open.push(Open { sequence, end, encoding });
        match end {
            Some(end) if end > self.input.length() => Err(malformed("a sequence is longer than the file")),
            _ if self.open.len() > MAX_DEPTH => Err(malformed("its sequences are nested too deep")),
            _ => Ok(()),
        }
    }

    /// Reads the value representation and the length (PS3.5, 7.1.2).
    fn explicit(&mut self) -> Result<(VR, u32), Kind> {
        let mut name = [0; 2];
        self.input.fill(&mut name)?;
        let vr = VR::from_binary(name).or_else(|| name.iter().all(u8::is_ascii_uppercase).then_some(VR::UN));
        let vr = vr.ok_or_else(|| malformed("an element has no value representation"))?;
        let has_long_length = !matches!(
            vr,
            VR::AE | VR::AS | VR::AT | VR::CS | VR::DA | VR::DS | VR::DT | VR::FL | VR::FD | VR::IS | VR::LO | VR::LT
        ) && !matches!(
            vr,
            VR::PN | VR::SH | VR::SL | VR::SS | VR::ST | VR::TM | VR::UI | VR::UL | VR::US
        );
        if has_long_length {
            self.number(2)?;
            return Ok((vr, self.length()?));
        }
        Ok((vr, self.number(2)?))
    }

    pub(crate) fn tag(&mut self) -> Result<Tag, Kind> {
        let (group, element) = (self.number(2)?, self.number(2)?);
        Ok(Tag(u16::try_from(group).unwrap_or_default(), u16::try_from(element).unwrap_or_default()))
    }

    pub(crate) fn length(&mut self) -> Result<u32, Kind> {
        self.number(4)
    }

    fn number(&mut self, size: usize) -> Result<u32, Kind> {
        let mut bytes = [0; 4];
        self.input.fill(&mut bytes[..size])?;
        let append = |number: u32, byte: &u8| (number << 8) | u32::from(*byte);
        Ok(if self.encoding.is_big_endian {
            bytes[..size].iter().fold(0, append)
        } else {
            bytes[..size].iter().rev().fold(0, append)
        })
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Skips the value of the element `tag`.
    pub(crate) fn pass(&mut self, tag: Tag, length: u32) -> Result<(), Kind> {
        let end = self.input.position() + u64::from(length);
        if end > self.input.length() {
            let what = if tag == tags::PIXEL_DATA { "its pixels".to_owned() } else { format!("element {tag}") };
            return Err(Kind::Truncated { what, expected: end, actual: self.input.length() });
        }
        self.input.pass(length.into())
    }
}

/// Returns the value representation of an element from the data dictionary, for files with implicit VR.
pub(crate) fn implicit_vr(tag: Tag) -> VR {
    match StandardDataDictionary.by_tag(tag).map(DataDictionaryEntry::vr) {
        Some(VirtualVr::Exact(vr)) => vr,
        _ => VR::UN,
    }
}
