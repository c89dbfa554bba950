//! The directories of TIFF, BigTIFF and NDPI files, read without decoding images.

mod directory;
mod entry;
mod extents;
mod reader;
pub(crate) mod tags;

use std::collections::HashSet;
use std::io::{Read, Seek};

use crate::error::{ErrorKind, malformed};
pub(crate) use directory::{Directory, DirectoryLocation, MASK, REDUCED};
use entry::Entry;
pub(crate) use extents::Budget;
use reader::{OffsetWidth, Reader};

/// The first bytes of TIFF and BigTIFF files.
pub(crate) const MAGIC: [&[u8; 4]; 4] = [b"II\x2A\0", b"II\x2B\0", b"MM\0\x2A", b"MM\0\x2B"];
/// The maximum number of entries of one directory.
const MAX_ENTRIES: u64 = 4096;
/// The maximum number of entries and directories of a file together.
const MAX_ALL_ENTRIES: usize = 1 << 18;
/// The maximum number of `SubIFDs` of one directory.
const MAX_SUB_IFDS: u64 = 4096;
/// The maximum length of a text in bytes. It is large because some vendors store pictures in XML.
const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;

/// A TIFF file and its directories: the main chain in order, and then the `SubIFDs`.
#[derive(Debug)]
pub(crate) struct Tiff<R> {
    reader: Reader<R>,
    pub(crate) directories: Vec<Directory>,
    visited: HashSet<u64>,
    entries: usize,
}

impl<R> Tiff<R> {
    /// Returns the index of directory `number` of the main chain, or `None` if the chain is shorter.
    pub(crate) fn main_directory(&self, number: u64) -> Option<usize> {
        let index = usize::try_from(number).ok()?;
        self.directories.get(index).filter(|directory| !directory.is_sub()).map(|_| index)
    }
}

impl<R: Read + Seek> Tiff<R> {
    /// Reads all directories of a file of `length` bytes that starts with one of [`MAGIC`].
    pub(crate) fn read(source: R, length: u64) -> Result<Self, ErrorKind> {
        let reader = Reader::new(source, length);
        let mut tiff = Self { reader, directories: Vec::new(), visited: HashSet::new(), entries: 0 };
        let first = tiff.first_directory_offset()?;
        tiff.read_chain(first, DirectoryLocation::Main)?;
        if tiff.directories.is_empty() {
            return Err(malformed("it has no directory"));
        }
        let mut next = 0;
        while next < tiff.directories.len() {
            tiff.read_sub_directories(next)?;
            next += 1;
        }
        for number in 0..tiff.directories.len() {
            tiff.read_directory(number);
        }
        Ok(tiff)
    }

    pub(crate) fn is_big(&self) -> bool {
        self.reader.width == OffsetWidth::Big
    }

    /// Returns true if the first directory has the NDPI tag.
    pub(crate) fn is_ndpi(&self) -> bool {
        self.directories[0].entry(tags::NDPI_FORMAT_FLAG).is_some()
    }

    /// Reads the header and returns the offset of the first directory.
    fn first_directory_offset(&mut self) -> Result<u64, ErrorKind> {
        let mut head = [0; 16];
        let bytes = usize::try_from(self.reader.length().min(16)).unwrap_or(16);
        self.reader.read_at("its header", 0, &mut head[..bytes])?;
        self.reader.big_endian = &head[..2] == b"MM";
        if self.reader.number(&head[2..4]) == 43 {
            self.reader.check("its header", 0, 16)?;
            self.reader.width = OffsetWidth::Big;
            return match self.reader.number(&head[4..8]) {
                // A BigTIFF header contains the size of offsets, which is 8 bytes, and then a zero.
                _ if self.reader.number(&head[4..6]) != 8 || head[6..8] != [0; 2] => {
                    Err(malformed("its header is not that of BigTIFF"))
                }
                _ => Ok(self.reader.number(&head[8..16])),
            };
        }
        self.reader.check("its header", 0, 8)?;
        let (short, long) = (self.reader.number(&head[4..8]), self.reader.number(&head[4..12]));
        self.reader.width =
            if !self.reader.big_endian && self.has_ndpi_at(long) { OffsetWidth::Ndpi } else { OffsetWidth::Classic };
        Ok(if self.reader.width == OffsetWidth::Ndpi { long } else { short })
    }

    /// Returns true if the file is NDPI: it has the header of classic TIFF, but a 64-bit offset of the first directory
    /// and a Hamamatsu tag in this directory. The caller must set the width of the reader afterwards.
    fn has_ndpi_at(&mut self, offset: u64) -> bool {
        self.reader.width = OffsetWidth::Ndpi;
        let Ok((entries, _)) = self.read_entries(offset) else { return false };
        entries.iter().any(|entry| entry.tag == tags::NDPI_FORMAT_FLAG)
    }

    /// Reads a chain of directories, starting at `offset`.
    fn read_chain(&mut self, mut offset: u64, location: impl Fn(usize) -> DirectoryLocation) -> Result<(), ErrorKind> {
        let mut number = 0;
        while offset != 0 {
            if !self.visited.insert(offset) {
                return Err(malformed("its chain of directories is a loop"));
            }
            let (entries, next) = self.read_entries(offset)?;
            self.entries += entries.len() + 1;
            if self.entries > MAX_ALL_ENTRIES {
                return Err(malformed("it has too many directories"));
            }
            self.directories.push(Directory::new(location(number), entries));
            (offset, number) = (next, number + 1);
        }
        Ok(())
    }

    /// Returns the entries of the directory at `offset`, and the offset of the next directory.
    fn read_entries(&mut self, offset: u64) -> Result<(Vec<Entry>, u64), ErrorKind> {
        let what = "a directory";
        let (count_size, entry_size, next_size) = match self.reader.width {
            OffsetWidth::Classic => (2, 12, 4),
            OffsetWidth::Ndpi => (2, 12, 8),
            OffsetWidth::Big => (8, 20, 8),
        };
        let mut buffer = [0; 8];
        self.reader.read_at(what, offset, &mut buffer[..count_size])?;
        let count = self.reader.number(&buffer[..count_size]);
        if count == 0 || count > MAX_ENTRIES {
            return Err(malformed(format!("a directory has {count} entries")));
        }
        let count = usize::try_from(count).unwrap_or_default();
        let high_size = if self.reader.width == OffsetWidth::Ndpi { 4 } else { 0 };
        let mut bytes = vec![0; count * (entry_size + high_size) + next_size];
        self.reader.read_at(what, offset.saturating_add(count_size as u64), &mut bytes)?;
        let (entries, rest) = bytes.split_at(count * entry_size);
        let (next_offset, high_bits) = rest.split_at(next_size);
        let entries = entries.chunks_exact(entry_size).enumerate();
        let entries = entries.map(|(index, entry)| {
            let high = &high_bits[index * high_size..(index + 1) * high_size];
            Entry::parse(&self.reader, entry, high)
        });
        Ok((entries.collect(), self.reader.number(next_offset)))
    }

    fn read_sub_directories(&mut self, parent: usize) -> Result<(), ErrorKind> {
        let Some(entry) = self.directories[parent].entry(tags::SUB_IFDS).copied() else { return Ok(()) };
        if entry.count > MAX_SUB_IFDS {
            return Err(malformed(format!("a directory has {} SubIFDs", entry.count)));
        }
        for (index, offset) in self.unsigned_values(parent, tags::SUB_IFDS)?.into_iter().enumerate() {
            // Several directories may refer to the same SubIFD. It is read once.
            if offset != 0 && !self.visited.contains(&offset) {
                self.read_chain(offset, |number| DirectoryLocation::Sub { parent, index: index + number })?;
            }
        }
        Ok(())
    }

    /// Returns all unsigned numbers of a tag. The result is empty if the directory does not have the tag.
    pub(crate) fn unsigned_values(&mut self, number: usize, tag: u16) -> Result<Vec<u64>, ErrorKind> {
        let Some(entry) = self.directories[number].entry(tag).copied() else { return Ok(Vec::new()) };
        if !entry.is_unsigned() {
            return Err(malformed(format!("tag {tag} is not a number")));
        }
        let bytes = entry.read_all(&mut self.reader)?;
        let value_size = usize::try_from(entry.value_size()).unwrap_or(1);
        let value_size = if entry.count == 1 { bytes.len().max(1) } else { value_size };
        Ok(bytes.chunks_exact(value_size).map(|bytes| self.reader.number(bytes)).collect())
    }

    /// Returns the first unsigned number of a tag.
    pub(crate) fn unsigned(&mut self, number: usize, tag: u16) -> Result<Option<u64>, ErrorKind> {
        match self.directories[number].entry(tag).copied() {
            None => Ok(None),
            Some(entry) if entry.is_unsigned() && entry.count > 0 => {
                let (bytes, value_size) = entry.read_values(&mut self.reader, 0, 1)?;
                Ok(Some(self.reader.number(&bytes[..value_size])))
            }
            Some(_) => Err(malformed(format!("tag {tag} is not a number"))),
        }
    }

    /// Returns the first number of a tag of any numeric type, or `None` if the tag is missing or not numeric.
    pub(crate) fn decimal(&mut self, number: usize, tag: u16) -> Result<Option<f64>, ErrorKind> {
        match self.directories[number].entry(tag).copied() {
            None => Ok(None),
            Some(entry) => entry.decimal(&mut self.reader),
        }
    }

    /// Returns the text of a tag without trailing zeros. Text that is not valid UTF-8 is decoded as Latin-1.
    pub(crate) fn text(&mut self, number: usize, tag: u16) -> Result<Option<String>, ErrorKind> {
        let Some(entry) = self.directories[number].entry(tag).copied() else { return Ok(None) };
        if entry.value_size() != 1 {
            return Err(malformed(format!("tag {tag} is not a text")));
        }
        if entry.count > MAX_TEXT_BYTES {
            return Err(malformed(format!("the text in tag {tag} has more than {MAX_TEXT_BYTES} bytes")));
        }
        let mut bytes = entry.read_all(&mut self.reader)?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        let decode_latin_1 = |bytes: Vec<u8>| bytes.into_iter().map(char::from).collect();
        Ok(Some(String::from_utf8(bytes).unwrap_or_else(|error| decode_latin_1(error.into_bytes()))))
    }
}
