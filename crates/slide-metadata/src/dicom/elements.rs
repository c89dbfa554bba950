//! The elements of a data set (PS3.5, section 7), read sequentially and without recursion.

use dicom_core::Tag;
use dicom_core::VR;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::input::Input;
use crate::error::{ErrorKind, malformed};

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
struct OpenSequence {
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
    open_sequences: Vec<OpenSequence>,
}

impl<I: Input> Elements<I> {
    pub(crate) fn new(input: I, encoding: Encoding) -> Self {
        Self { input, encoding, open_sequences: Vec::new() }
    }

    /// Returns the tags of the open sequences.
    pub(crate) fn path(&self) -> impl Iterator<Item = Tag> {
        self.open_sequences.iter().filter_map(|open_sequence| open_sequence.sequence)
    }

    pub(crate) fn is_root(&self) -> bool {
        self.open_sequences.is_empty()
    }

    /// Returns the next token. The previous value must have been read or skipped.
    pub(crate) fn next_token(&mut self) -> Result<Token, ErrorKind> {
        loop {
            self.close_ended()?;
            if self.open_sequences.is_empty() && self.input.position() == self.input.length() {
                return Ok(Token::End);
            }
            let tag = self.read_tag()?;
            match self.open_sequences.last().copied() {
                Some(OpenSequence { sequence: Some(_), end, encoding }) => self.read_item(tag, end, encoding)?,
                Some(OpenSequence { sequence: None, end: None, .. }) if tag == ITEM_END => {
                    self.read_number(4)?;
                    self.open_sequences.pop();
                }
                _ if tag.0 == 0xFFFE => return Err(malformed("a delimiter outside of a sequence")),
                _ => return self.read_element(tag),
            }
        }
    }

    /// Closes the sequences and items of defined length that end at the current position.
    fn close_ended(&mut self) -> Result<(), ErrorKind> {
        while let Some(end) = self.open_sequences.last().and_then(|open_sequence| open_sequence.end) {
            match self.input.position() {
                position if position < end => break,
                position if position > end => {
                    return Err(malformed("an element is longer than the sequence or item that contains it"));
                }
                _ => self.open_sequences.pop(),
            };
        }
        Ok(())
    }

    /// Reads an item of the open sequence, or its end.
    fn read_item(&mut self, tag: Tag, end: Option<u64>, encoding: Encoding) -> Result<(), ErrorKind> {
        let length = self.read_length()?;
        match tag {
            ITEM => self.open_sequence(None, length, encoding),
            SEQUENCE_END if end.is_none() => {
                self.open_sequences.pop();
                Ok(())
            }
            _ => Err(malformed(format!("{tag} in a sequence, where an item is expected"))),
        }
    }

    /// Returns the token for the first tag of the data set. `tag` was read as little endian with the file meta
    /// information.
    pub(super) fn first_token(&mut self, tag: Tag) -> Result<Token, ErrorKind> {
        let tag = if self.encoding.is_big_endian { Tag(tag.0.swap_bytes(), tag.1.swap_bytes()) } else { tag };
        match tag.0 {
            0xFFFE => Err(malformed("a delimiter outside of a sequence")),
            _ => self.read_element(tag),
        }
    }

    /// Returns the token for `tag`, which has already been read.
    pub(super) fn read_element(&mut self, tag: Tag) -> Result<Token, ErrorKind> {
        let encoding = self.open_sequences.last().map_or(self.encoding, |open_sequence| open_sequence.encoding);
        let (vr, length) =
            if encoding.is_explicit { self.read_explicit_vr()? } else { (implicit_vr(tag), self.read_length()?) };
        if length == UNDEFINED && tag == tags::PIXEL_DATA {
            return Ok(Token::Fragments(tag));
        }
        match (vr, length) {
            (VR::SQ, _) => self.open_sequence(Some(tag), length, encoding)?,
            // An unknown element of undefined length contains a sequence with implicit VR (CP-246).
            (VR::UN, UNDEFINED) => self.open_sequence(Some(tag), length, IMPLICIT)?,
            // A system that does not know the attribute writes its sequence of defined length as UN. The items of such
            // a sequence have implicit VR (PS3.5, 6.2.2).
            (VR::UN, _) if implicit_vr(tag) == VR::SQ => self.open_sequence(Some(tag), length, IMPLICIT)?,
            (_, UNDEFINED) if !encoding.is_explicit => self.open_sequence(Some(tag), length, encoding)?,
            (_, UNDEFINED) => return Err(malformed(format!("{tag} does not state its length"))),
            _ => return Ok(Token::Value { tag, vr, length }),
        }
        Ok(Token::Sequence(tag))
    }

    fn open_sequence(&mut self, sequence: Option<Tag>, length: u32, encoding: Encoding) -> Result<(), ErrorKind> {
        let end = (length != UNDEFINED).then(|| self.input.position() + u64::from(length));
        self.open_sequences.push(OpenSequence { sequence, end, encoding });
        match end {
            Some(end) if end > self.input.length() => Err(malformed("a sequence is longer than the file")),
            _ if self.open_sequences.len() > MAX_DEPTH => Err(malformed("its sequences are nested too deeply")),
            _ => Ok(()),
        }
    }

    /// Reads the value representation and the length (PS3.5, 7.1.2).
    fn read_explicit_vr(&mut self) -> Result<(VR, u32), ErrorKind> {
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
            self.read_number(2)?;
            return Ok((vr, self.read_length()?));
        }
        Ok((vr, self.read_number(2)?))
    }

    pub(crate) fn read_tag(&mut self) -> Result<Tag, ErrorKind> {
        let (group, element) = (self.read_number(2)?, self.read_number(2)?);
        Ok(Tag(u16::try_from(group).unwrap_or_default(), u16::try_from(element).unwrap_or_default()))
    }

    pub(crate) fn read_length(&mut self) -> Result<u32, ErrorKind> {
        self.read_number(4)
    }

    fn read_number(&mut self, size: usize) -> Result<u32, ErrorKind> {
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
    pub(crate) fn skip(&mut self, tag: Tag, length: u32) -> Result<(), ErrorKind> {
        let end = self.input.position() + u64::from(length);
        if end > self.input.length() {
            let what = if tag == tags::PIXEL_DATA { "its pixels".to_owned() } else { format!("element {tag}") };
            return Err(ErrorKind::Truncated { what, expected: end, actual: self.input.length() });
        }
        self.input.skip(length.into())
    }
}

/// Returns the value representation of an element from the data dictionary, for files with implicit VR.
pub(crate) fn implicit_vr(tag: Tag) -> VR {
    match StandardDataDictionary.by_tag(tag).map(DataDictionaryEntry::vr) {
        Some(VirtualVr::Exact(vr)) => vr,
        _ => VR::UN,
    }
}
