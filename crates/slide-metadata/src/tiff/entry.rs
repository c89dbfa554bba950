//! Entries of a TIFF directory and their values (TIFF 6.0, section 2).

use std::io::{Read, Seek};

use super::reader::{OffsetWidth, Reader};
use crate::error::{ErrorKind, malformed};

/// The supported field types, by number.
pub(crate) const BYTE: u16 = 1;
pub(crate) const ASCII: u16 = 2;
pub(crate) const SHORT: u16 = 3;
pub(crate) const LONG: u16 = 4;
const RATIONAL: u16 = 5;
const UNDEFINED: u16 = 7;
const SIGNED_LONG: u16 = 9;
const SIGNED_RATIONAL: u16 = 10;
const FLOAT: u16 = 11;
const DOUBLE: u16 = 12;
const IFD: u16 = 13;
const LONG8: u16 = 16;
const IFD8: u16 = 18;

/// An entry of a directory: a tag, and its value or the offset of its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) tag: u16,
    field_type: u16,
    pub(crate) count: u64,
    /// The last field of the entry: the value or its offset. In NDPI it has 64 bits.
    value_field: [u8; 8],
}

impl Entry {
    /// Parses an entry. `high` contains the upper 32 bits of its last field in NDPI.
    pub(super) fn parse<R: Read + Seek>(reader: &Reader<R>, bytes: &[u8], high: &[u8]) -> Self {
        let number = |range: std::ops::Range<usize>| reader.number(&bytes[range]);
        let short = |range| u16::try_from(number(range)).unwrap_or_default();
        let (count, last) = match reader.width {
            OffsetWidth::Big => (number(4..12), &bytes[12..20]),
            OffsetWidth::Classic | OffsetWidth::Ndpi => (number(4..8), &bytes[8..12]),
        };
        let mut value_field = [0; 8];
        value_field[..last.len()].copy_from_slice(last);
        if reader.width == OffsetWidth::Ndpi {
            value_field[4..].copy_from_slice(high);
        }
        Self { tag: short(0..2), field_type: short(2..4), count, value_field }
    }

    /// Returns the size of one value in bytes, or 0 if the field type is unknown.
    pub(crate) fn value_size(&self) -> u64 {
        match self.field_type {
            BYTE | ASCII | 6 | UNDEFINED => 1,
            SHORT | 8 => 2,
            LONG | SIGNED_LONG | FLOAT | IFD => 4,
            RATIONAL | SIGNED_RATIONAL | DOUBLE | LONG8 | 17 | IFD8 => 8,
            _ => 0,
        }
    }

    fn byte_count(&self) -> u64 {
        self.count.saturating_mul(self.value_size())
    }

    /// Returns true if the entry contains a 64-bit value: in NDPI, a single `LONG` whose upper bits are not zero.
    fn has_64_bit_value<R>(&self, reader: &Reader<R>) -> bool {
        let is_number = self.count == 1 && [LONG, SIGNED_LONG, IFD].contains(&self.field_type);
        reader.width == OffsetWidth::Ndpi && is_number && self.value_field[4..] != [0; 4]
    }

    /// Returns the offset of the value, unless it is stored in the entry itself.
    pub(crate) fn offset<R: Read + Seek>(&self, reader: &Reader<R>) -> Option<u64> {
        let inline = if reader.width == OffsetWidth::Big { 8 } else { 4 };
        let last = if reader.width == OffsetWidth::Classic { &self.value_field[..4] } else { &self.value_field[..] };
        (self.byte_count() > inline).then(|| reader.number(last))
    }

    /// Checks that the value is within the file.
    pub(crate) fn check<R: Read + Seek>(&self, reader: &Reader<R>) -> Result<(), ErrorKind> {
        match self.offset(reader) {
            Some(offset) => reader.check(&format!("the value of tag {}", self.tag), offset, self.byte_count()),
            None => Ok(()),
        }
    }

    /// Returns the bytes of `count` values starting at index `first`, and the size of one value in bytes.
    pub(super) fn read_values<R: Read + Seek>(
        &self,
        reader: &mut Reader<R>,
        first: u64,
        count: u64,
    ) -> Result<(Vec<u8>, usize), ErrorKind> {
        let value_size = self.value_size();
        if self.has_64_bit_value(reader) {
            return Ok((self.value_field.to_vec(), 8));
        }
        let (start, bytes) = (first.saturating_mul(value_size), count.saturating_mul(value_size));
        let size = usize::try_from(value_size).unwrap_or_default();
        match self.offset(reader) {
            None => {
                let range = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(bytes)).ok());
                let value = range.and_then(|(start, end)| self.value_field.get(start..end));
                Ok((value.ok_or_else(|| malformed("a value is longer than its entry"))?.to_vec(), size))
            }
            Some(offset) => {
                let what = format!("the value of tag {}", self.tag);
                self.check(reader)?;
                let mut buffer = vec![0; usize::try_from(bytes).unwrap_or_default()];
                reader.read_at(&what, offset.saturating_add(start), &mut buffer)?;
                Ok((buffer, size))
            }
        }
    }

    /// Returns all bytes of the value.
    pub(super) fn read_all<R: Read + Seek>(&self, reader: &mut Reader<R>) -> Result<Vec<u8>, ErrorKind> {
        match self.offset(reader) {
            Some(offset) => reader.value_at(&format!("the value of tag {}", self.tag), offset, self.byte_count()),
            None => Ok(self.read_values(reader, 0, self.count)?.0),
        }
    }

    /// Returns true if the values are unsigned numbers.
    pub(crate) fn is_unsigned(&self) -> bool {
        [BYTE, SHORT, LONG, IFD, LONG8, IFD8].contains(&self.field_type)
    }

    /// Returns the first value as a floating-point number, or `None` if it is not a number.
    pub(super) fn decimal<R: Read + Seek>(&self, reader: &mut Reader<R>) -> Result<Option<f64>, ErrorKind> {
        if self.count == 0 || self.value_size() == 0 {
            return Ok(None);
        }
        let (bytes, size) = self.read_values(reader, 0, 1)?;
        let number = reader.number(&bytes[..size]);
        let low = |bytes: &[u8]| u32::try_from(reader.number(bytes)).unwrap_or_default();
        Ok(match self.field_type {
            RATIONAL => Some(f64::from(low(&bytes[..4])) / f64::from(low(&bytes[4..8]))),
            SIGNED_RATIONAL => {
                Some(f64::from(low(&bytes[..4]).cast_signed()) / f64::from(low(&bytes[4..8]).cast_signed()))
            }
            FLOAT => Some(f64::from(f32::from_bits(low(&bytes[..4])))),
            DOUBLE => Some(f64::from_bits(number)),
            SIGNED_LONG => Some(f64::from(low(&bytes[..4]).cast_signed())),
            _ if self.is_unsigned() => u32::try_from(number).ok().map(f64::from),
            _ => None,
        })
    }
}
