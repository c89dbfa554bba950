//! The directories of TIFF, BigTIFF and NDPI files, read without decoding images.

mod directory;
mod entry;
mod extents;
mod reader;
pub(crate) mod tags;

use std::collections::HashSet;
use std::io::{Read, Seek};

use crate::error::{Kind, malformed};
pub(crate) use directory::{Directory, MASK, Place, REDUCED};
use entry::Entry;
pub(crate) use extents::Budget;
use reader::{Reader, Width};

/// The first bytes of TIFF and BigTIFF files.
pub(crate) const MAGIC: [&[u8; 4]; 4] = [b"II\x2A\0", b"II\x2B\0", b"MM\0\x2A", b"MM\0\x2B"];
/// The maximum number of entries of one directory.
const MAX_ENTRIES: u64 = 4096;
/// The maximum number of entries and directories of a file together.
const MAX_ALL_ENTRIES: usize = 1 << 18;
/// The maximum number of `SubIFDs` of one directory.
const MAX_SUB_IFDS: u64 = 4096;
/// The maximum length of a text in bytes. It is large, because some vendors store pictures in XML.
const MAX_TEXT: u64 = 16 * 1024 * 1024;

/// A TIFF file and its directories: the main chain in order, and then the `SubIFDs`.
#[derive(Debug)]
pub(crate) struct Tiff<R> {
    reader: Reader<R>,
    pub(crate) directories: Vec<Directory>,
    visited: HashSet<u64>,
    entries: usize,
}

impl<R> Tiff<R> {
    /// Returns the index of directory `number` of the main chain, or `None` if there is no such directory.
    pub(crate) fn main(&self, number: u64) -> Option<usize> {
        let index = usize::try_from(number).ok()?;
        self.directories.get(index).filter(|directory| !directory.is_sub()).map(|_| index)
    }
}

impl<R: Read + Seek> Tiff<R> {
    /// Reads all directories of a file of `length` bytes that starts with one of [`MAGIC`].
    pub(crate) fn read(source: R, length: u64) -> Result<Self, Kind> {
        let reader = Reader::new(source, length);
        let mut tiff = Self { reader, directories: Vec::new(), visited: HashSet::new(), entries: 0 };
        let first = tiff.first_directory()?;
        tiff.chain(first, Place::Main)?;
        if tiff.directories.is_empty() {
            return Err(malformed("it has no directory"));
        }
        let mut next = 0;
        while next < tiff.directories.len() {
            tiff.sub_directories(next)?;
            next += 1;
        }
        for number in 0..tiff.directories.len() {
            tiff.describe(number);
        }
        Ok(tiff)
    }

    pub(crate) fn is_big(&self) -> bool {
        self.reader.width == Width::Big
    }

    /// Returns true if the first directory has the NDPI tag.
    pub(crate) fn is_ndpi(&self) -> bool {
        self.directories[0].entry(tags::NDPI_FORMAT_FLAG).is_some()
    }

    /// Reads the header, and returns the offset of the first directory.
    fn first_directory(&mut self) -> Result<u64, Kind> {
        let mut head = [0; 16];
        let bytes = usize::try_from(self.reader.length().min(16)).unwrap_or(16);
        self.reader.read_at("its header", 0, &mut head[..bytes])?;
        self.reader.big_endian = &head[..2] == b"MM";
        if self.reader.number(&head[2..4]) == 43 {
            self.reader.check("its header", 0, 16)?;
            self.reader.width = Width::Big;
            return match self.reader.number(&head[4..8]) {
                // A BigTIFF header contains the size of offsets, 8 bytes, and then a zero.
                _ if self.reader.number(&head[4..6]) != 8 || head[6..8] != [0; 2] => {
                    Err(malformed("its header is not that of BigTIFF"))
                }
                _ => Ok(self.reader.number(&head[8..16])),
            };
        }
        self.reader.check("its header", 0, 8)?;
        let (short, long) = (self.reader.number(&head[4..8]), self.reader.number(&head[4..12]));
        self.reader.width =
            if !self.reader.big_endian && self.has_ndpi_at(long) { Width::Ndpi } else { Width::Classic };
        Ok(if self.reader.width == Width::Ndpi { long } else { short })
    }

    /// Returns true if the file is NDPI: its header is that of classic TIFF, but its first directory has a 64-bit offset
    /// and a Hamamatsu tag. The caller must set the width of the reader afterwards.
    fn has_ndpi_at(&mut self, offset: u64) -> bool {
        self.reader.width = Width::Ndpi;
        let Ok((entries, _)) = self.entries_at(offset) else { return false };
        entries.iter().any(|entry| entry.tag == tags::NDPI_FORMAT_FLAG)
    }

    /// Reads a chain of directories, starting at `offset`.
    fn chain(&mut self, mut offset: u64, place: impl Fn(usize) -> Place) -> Result<(), Kind> {
        let mut number = 0;
        while offset != 0 {
            if !self.visited.insert(offset) {
                return Err(malformed("its chain of directories is a loop"));
            }
            let (entries, next) = self.entries_at(offset)?;
            self.entries += entries.len() + 1;
            if self.entries > MAX_ALL_ENTRIES {
                return Err(malformed("it has too many directories"));
            }
            self.directories.push(Directory::new(place(number), entries));
            (offset, number) = (next, number + 1);
        }
        Ok(())
    }

    /// Returns the entries of the directory at `offset`, and the offset of the next one.
    fn entries_at(&mut self, offset: u64) -> Result<(Vec<Entry>, u64), Kind> {
        let what = "a directory";
        let (head, size, next) = match self.reader.width {
            Width::Classic => (2, 12, 4),
            Width::Ndpi => (2, 12, 8),
            Width::Big => (8, 20, 8),
        };
        let mut buffer = [0; 8];
        self.reader.read_at(what, offset, &mut buffer[..head])?;
        let count = self.reader.number(&buffer[..head]);
        if count == 0 || count > MAX_ENTRIES {
            return Err(malformed(format!("a directory has {count} entries")));
        }
        let length = usize::try_from(count).unwrap_or_default();
        let high = if self.reader.width == Width::Ndpi { 4 } else { 0 };
        let mut bytes = vec![0; length * (size + high) + next];
        self.reader.read_at(what, offset.saturating_add(head as u64), &mut bytes)?;
        let (entries, rest) = bytes.split_at(length * size);
        let (next, high_bits) = rest.split_at(next);
        let entries = entries.chunks_exact(size).enumerate();
        let entries = entries
            .map(|(number, entry)| Entry::parse(&self.reader, entry, &high_bits[number * high..(number + 1) * high]));
        Ok((entries.collect(), self.reader.number(next)))
    }

    fn sub_directories(&mut self, parent: usize) -> Result<(), Kind> {
        let Some(entry) = self.directories[parent].entry(tags::SUB_IFDS).copied() else { return Ok(()) };
        if entry.count > MAX_SUB_IFDS {
            return Err(malformed(format!("a directory has {} SubIFDs", entry.count)));
        }
        for (index, offset) in self.unsigned_values(parent, tags::SUB_IFDS)?.into_iter().enumerate() {
            // Several directories may refer to the same SubIFD, which is read once.
            if offset != 0 && !self.visited.contains(&offset) {
                self.chain(offset, |number| Place::Sub { parent, index: index + number })?;
            }
        }
        Ok(())
    }

    /// Returns all unsigned numbers of a tag. The result is empty if the directory does not have the tag.
    pub(crate) fn unsigned_values(&mut self, number: usize, tag: u16) -> Result<Vec<u64>, Kind> {
        let Some(entry) = self.directories[number].entry(tag).copied() else { return Ok(Vec::new()) };
        if !entry.is_unsigned() {
            return Err(malformed(format!("tag {tag} is not a number")));
        }
        let bytes = entry.read_all(&mut self.reader)?;
        let unit = usize::try_from(entry.unit()).unwrap_or(1);
        let unit = if entry.count == 1 { bytes.len().max(1) } else { unit };
        Ok(bytes.chunks_exact(unit).map(|bytes| self.reader.number(bytes)).collect())
    }

    /// Returns the first unsigned number of a tag.
    pub(crate) fn unsigned(&mut self, number: usize, tag: u16) -> Result<Option<u64>, Kind> {
        match self.directories[number].entry(tag).copied() {
            None => Ok(None),
            Some(entry) if entry.is_unsigned() && entry.count > 0 => {
                let (bytes, unit) = entry.slice(&mut self.reader, 0, 1)?;
                Ok(Some(self.reader.number(&bytes[..unit])))
            }
            Some(_) => Err(malformed(format!("tag {tag} is not a number"))),
        }
    }

    /// Returns the first number of a tag of any numeric type, or `None` if the tag is missing or not numeric.
    pub(crate) fn decimal(&mut self, number: usize, tag: u16) -> Result<Option<f64>, Kind> {
        match self.directories[number].entry(tag).copied() {
            None => Ok(None),
            Some(entry) => entry.decimal(&mut self.reader),
        }
    }

    /// Returns the text of a tag: UTF-8, or else Latin-1, without trailing zeros.
    pub(crate) fn text(&mut self, number: usize, tag: u16) -> Result<Option<String>, Kind> {
        let Some(entry) = self.directories[number].entry(tag).copied() else { return Ok(None) };
        if entry.unit() != 1 {
            return Err(malformed(format!("tag {tag} is not a text")));
        }
        if entry.count > MAX_TEXT {
            return Err(malformed(format!("the text in tag {tag} has more than {MAX_TEXT} bytes")));
        }
        let mut bytes = entry.read_all(&mut self.reader)?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        let latin = |bytes: Vec<u8>| bytes.into_iter().map(char::from).collect();
        Ok(Some(String::from_utf8(bytes).unwrap_or_else(|error| latin(error.into_bytes()))))
    }
}
