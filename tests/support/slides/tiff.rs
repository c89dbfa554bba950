//! One writer for the TIFF structures of all vendors: classic TIFF, BigTIFF and NDPI, in both byte orders.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::jpeg;

/// The layout of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Classic,
    Big,
    /// 64-bit offsets in classic entries. Their upper halves follow the directory.
    Ndpi,
}

/// The value of a tag.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    Short(Vec<u16>),
    Long(Vec<u32>),
    SignedLong(i32),
    Rational(Vec<(u32, u32)>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Offsets(Vec<u64>),
}

/// Returns a text with its trailing zero.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Value {
    Value::Text([text.as_ref(), &[0]].concat())
}

/// The storage of an image's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// One strip without compression.
    Strip,
    /// One strip in JPEG, with restart markers.
    JpegStrip,
    /// Tiles of this size without compression.
    Tiles(u16),
    /// Tiles of this size in JPEG.
    JpegTiles(u16),
}

/// An image, which is one directory of the file.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixels: Pixels,
    pub(crate) tags: Vec<(u16, Value)>,
    pub(crate) sub: Vec<Image>,
}

impl Image {
    pub(crate) fn new(width: u32, height: u32, pixels: Pixels) -> Self {
        Self { width, height, pixels, tags: Vec::new(), sub: Vec::new() }
    }

    pub(crate) fn with(mut self, tag: u16, value: Value) -> Self {
        self.tags.retain(|(other, _)| *other != tag);
        self.tags.push((tag, value));
        self
    }

    pub(crate) fn described(self, description: impl AsRef<[u8]>) -> Self {
        self.with(270, text(description))
    }

    /// Pixels per unit: 2 for inches, 3 for centimeters.
    pub(crate) fn resolution(self, per_unit: u32, unit: u16) -> Self {
        let value = || Value::Rational(vec![(per_unit, 1)]);
        self.with(282, value()).with(283, value()).with(296, Value::Short(vec![unit]))
    }

    pub(crate) fn reduced(self) -> Self {
        self.with(254, Value::Long(vec![1]))
    }

    pub(crate) fn with_sub(mut self, image: Image) -> Self {
        self.sub.push(image);
        self
    }
}

/// A file: pieces at their offsets. The bytes between them are zero.
#[derive(Clone, Debug)]
pub(crate) struct Tiff {
    layout: Layout,
    big_endian: bool,
    pieces: Vec<(u64, Vec<u8>)>,
    /// The piece that contains the offset of the next directory, and the position in the piece.
    link: (usize, usize),
    length: u64,
    /// The indices of the pieces that are pixels.
    pixels: Vec<usize>,
    /// The offset of the next pixels, if pixels are stored behind all directories.
    pixel_offset: Option<u64>,
}

impl Tiff {
    pub(crate) fn new(layout: Layout) -> Self {
        Self::in_order(layout, false)
    }

    pub(crate) fn in_order(layout: Layout, big_endian: bool) -> Self {
        let mut tiff = Self {
            layout,
            big_endian,
            pieces: Vec::new(),
            link: (0, 4),
            length: 0,
            pixels: Vec::new(),
            pixel_offset: None,
        };
        let mut head = if big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        match layout {
            Layout::Big => {
                head.extend([43_u16, 8, 0].iter().flat_map(|number| tiff.number(u64::from(*number), 2)));
                head.extend([0; 8]);
                tiff.link = (0, 8);
            }
            Layout::Classic => head.extend([tiff.number(42, 2), vec![0; 4]].concat()),
            Layout::Ndpi => head.extend([tiff.number(42, 2), vec![0; 8]].concat()),
        }
        tiff.append(head);
        tiff
    }

    pub(crate) fn of(layout: Layout, images: impl IntoIterator<Item = Image>) -> Self {
        let mut tiff = Self::new(layout);
        images.into_iter().for_each(|image| tiff.add(&image));
        tiff
    }

    /// Leaves a hole: the next piece is at or behind `offset`.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        self.length = self.length.max(offset);
    }

    /// Places the pixels of subsequently added images behind `offset`, and behind all directories.
    pub(crate) fn put_pixels_behind(&mut self, offset: u64) {
        self.pixel_offset = Some(offset);
    }

    /// Adds a directory to the main chain.
    pub(crate) fn add(&mut self, image: &Image) {
        let offset = self.directory(image);
        let width = if self.layout == Layout::Classic { 4 } else { 8 };
        let bytes = self.number(offset, width);
        let (piece, position) = self.link;
        self.pieces[piece].1[position..position + width].copy_from_slice(&bytes);
        let last = self.pieces.len() - 1;
        let upper_halves_length =
            if self.layout == Layout::Ndpi { 4 * Self::tags(image, &[], &[], &[]).len() } else { 0 };
        self.link = (last, self.pieces[last].1.len() - upper_halves_length - width);
    }

    fn number(&self, number: u64, width: usize) -> Vec<u8> {
        let bytes = number.to_le_bytes();
        let mut bytes = bytes[..width].to_vec();
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    fn append(&mut self, bytes: Vec<u8>) -> u64 {
        self.length += self.length % 2;
        let offset = self.length;
        self.length += bytes.len() as u64;
        self.pieces.push((offset, bytes));
        offset
    }

    /// Appends the pixels of an image. Returns the offset and length of each strip or tile, which all share the same
    /// bytes.
    fn chunks(&mut self, image: &Image) -> (Vec<u64>, Vec<u32>) {
        let (width, height) = (u16::try_from(image.width).unwrap(), u16::try_from(image.height).unwrap());
        let plain = |width: u16, height: u16| vec![200; usize::from(width) * usize::from(height) * 3];
        let (bytes, count) = match image.pixels {
            Pixels::Strip => (plain(width, height), 1),
            Pixels::JpegStrip => (jpeg::gray(width, height, Some(width.div_ceil(8))), 1),
            Pixels::Tiles(side) => (plain(side, side), width.div_ceil(side) * height.div_ceil(side)),
            Pixels::JpegTiles(side) => (jpeg::gray(side, side, None), width.div_ceil(side) * height.div_ceil(side)),
        };
        let length = u32::try_from(bytes.len()).unwrap();
        self.pixels.push(self.pieces.len());
        let offset = match self.pixel_offset {
            Some(pixel_offset) => {
                self.pixel_offset = Some(pixel_offset + bytes.len() as u64);
                self.pieces.push((pixel_offset, bytes));
                pixel_offset
            }
            None => self.append(bytes),
        };
        (vec![offset; count.into()], vec![length; count.into()])
    }

    fn tags(image: &Image, offsets: &[u64], lengths: &[u32], sub: &[u64]) -> Vec<(u16, Value)> {
        let is_jpeg = matches!(image.pixels, Pixels::JpegStrip | Pixels::JpegTiles(_));
        let short = |value: u16| Value::Short(vec![value]);
        let mut tags = vec![
            (256, Value::Long(vec![image.width])),
            (257, Value::Long(vec![image.height])),
            (258, Value::Short(vec![8, 8, 8])),
            (259, short(if is_jpeg { 7 } else { 1 })),
            (262, short(if is_jpeg { 6 } else { 2 })),
            (277, short(3)),
            (284, short(1)),
        ];
        if is_jpeg {
            tags.push((530, Value::Short(vec![1, 1])));
        }
        let (offsets, lengths) = (Value::Offsets(offsets.to_vec()), Value::Long(lengths.to_vec()));
        match image.pixels {
            Pixels::Strip | Pixels::JpegStrip => {
                tags.extend([(273, offsets), (278, Value::Long(vec![image.height])), (279, lengths)]);
            }
            Pixels::Tiles(side) | Pixels::JpegTiles(side) => {
                tags.extend([(322, short(side)), (323, short(side)), (324, offsets), (325, lengths)]);
            }
        }
        if !image.sub.is_empty() {
            tags.push((330, Value::Offsets(sub.to_vec())));
        }
        tags.retain(|(tag, _)| image.tags.iter().all(|(other, _)| tag != other));
        tags.extend(image.tags.clone());
        tags.sort_by_key(|(tag, _)| *tag);
        tags
    }

    /// Writes the pixels, the `SubIFDs`, the values and the directory of an image.
    fn directory(&mut self, image: &Image) -> u64 {
        let (offsets, lengths) = self.chunks(image);
        let sub: Vec<_> = image.sub.iter().map(|image| self.directory(image)).collect();
        let tags = Self::tags(image, &offsets, &lengths, &sub);
        let (count_width, number_width, field_width) = match self.layout {
            Layout::Big => (8, 8, 8),
            Layout::Classic | Layout::Ndpi => (2, 4, 4),
        };
        let (mut entries, mut upper_halves) = (self.number(tags.len() as u64, count_width), Vec::new());
        for (tag, value) in tags {
            let (kind, count, bytes, upper) = self.encode(&value);
            entries
                .extend([self.number(tag.into(), 2), self.number(kind, 2), self.number(count, number_width)].concat());
            let mut field = bytes;
            let mut upper = upper;
            if field.len() > field_width {
                let offset = self.append(field);
                upper = self.number(offset >> 32, 4);
                field = self.number(offset, field_width);
            }
            field.resize(field_width, 0);
            entries.extend(field);
            upper_halves.extend(upper);
        }
        entries.extend(vec![0; if self.layout == Layout::Classic { 4 } else { 8 }]);
        if self.layout == Layout::Ndpi {
            entries.extend(upper_halves);
        }
        self.append(entries)
    }

    /// Returns the type, the count and the bytes of a value, and the upper half of a single offset in NDPI.
    fn encode(&self, value: &Value) -> (u64, u64, Vec<u8>, Vec<u8>) {
        let each = |numbers: Vec<u64>, width: usize| {
            numbers.into_iter().flat_map(|number| self.number(number, width)).collect::<Vec<_>>()
        };
        let none = vec![0; 4];
        let longs = |numbers: &[u32]| numbers.iter().copied().map(u64::from).collect::<Vec<_>>();
        match value {
            Value::Bytes(bytes) => (1, bytes.len() as u64, bytes.clone(), none),
            Value::Text(bytes) => (2, bytes.len() as u64, bytes.clone(), none),
            Value::Short(numbers) => {
                (3, numbers.len() as u64, each(numbers.iter().copied().map(u64::from).collect(), 2), none)
            }
            Value::Long(numbers) => (4, numbers.len() as u64, each(longs(numbers), 4), none),
            Value::SignedLong(number) => (9, 1, self.number(number.cast_unsigned().into(), 4), none),
            Value::Rational(pairs) => {
                let numbers = pairs.iter().flat_map(|(a, b)| [u64::from(*a), u64::from(*b)]).collect();
                (5, pairs.len() as u64, each(numbers, 4), none)
            }
            Value::Float(numbers) => (
                11,
                numbers.len() as u64,
                each(numbers.iter().map(|number| number.to_bits().into()).collect(), 4),
                none,
            ),
            Value::Double(numbers) => {
                (12, numbers.len() as u64, each(numbers.iter().map(|number| number.to_bits()).collect(), 8), none)
            }
            Value::Offsets(numbers) if self.layout == Layout::Big => {
                (16, numbers.len() as u64, each(numbers.clone(), 8), none)
            }
            Value::Offsets(numbers) => {
                let upper = self.number(numbers.first().copied().unwrap_or_default() >> 32, 4);
                (4, numbers.len() as u64, each(numbers.clone(), 4), upper)
            }
        }
    }

    /// Returns the whole file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = self.pixel_offset.unwrap_or(self.length).max(self.length);
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        for (offset, piece) in &self.pieces {
            let offset = usize::try_from(*offset).unwrap();
            bytes[offset..offset + piece.len()].copy_from_slice(piece);
        }
        bytes
    }

    /// Writes the file, with holes between the pieces.
    pub(crate) fn save(&self, path: &Path) {
        let mut file = File::create(path).unwrap();
        file.set_len(self.pixel_offset.unwrap_or(self.length).max(self.length)).unwrap();
        for (offset, piece) in &self.pieces {
            file.seek(SeekFrom::Start(*offset)).unwrap();
            file.write_all(piece).unwrap();
        }
    }

    /// Returns the offsets at which the pieces of the file begin and end.
    pub(crate) fn boundaries(&self) -> Vec<u64> {
        self.pieces.iter().flat_map(|(offset, piece)| [*offset, *offset + piece.len() as u64]).collect()
    }

    /// Returns the ranges that are not pixels.
    pub(crate) fn headers(&self) -> Vec<std::ops::Range<usize>> {
        let pieces = self.pieces.iter().enumerate().filter(|(number, _)| !self.pixels.contains(number));
        let range = |(offset, piece): &(u64, Vec<u8>)| {
            let start = usize::try_from(*offset).unwrap();
            start..start + piece.len()
        };
        pieces.map(|(_, piece)| range(piece)).collect()
    }
}
