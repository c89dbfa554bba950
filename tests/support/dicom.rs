//! DICOM files, written element by element (PS3.5, 7.1.2: Explicit VR Little Endian).

/// The SOP classes of whole-slide images and of annotations.
pub(crate) const SLIDE: &str = "1.2.840.10008.5.1.4.1.1.77.1.6";
pub(crate) const ANNOTATION: &str = "1.2.840.10008.5.1.4.1.1.91.1";
/// Transfer syntaxes: plain pixels with explicit and with implicit value representations, and frames in JPEG.
pub(crate) const PLAIN: &str = "1.2.840.10008.1.2.1";
pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(crate) const JPEG: &str = "1.2.840.10008.1.2.4.50";

/// A file of a slide.
#[derive(Clone, Debug)]
pub(crate) struct Dicom {
    pub(crate) class: &'static str,
    pub(crate) syntax: &'static str,
    pub(crate) flavor: &'static str,
    pub(crate) series: &'static str,
    pub(crate) pyramid: Option<&'static str>,
    /// The number of files that the image consists of, if it is split into several files.
    pub(crate) parts: Option<u16>,
    pub(crate) columns: u16,
    pub(crate) rows: u16,
    /// The spacing of rows and columns in millimeters, as written.
    pub(crate) spacing: Option<&'static str>,
    /// The spacing of each frame, as written.
    pub(crate) frame_spacings: &'static [&'static str],
    /// True if the shared functional groups have an unknown representation and a length (PS3.5, 6.2.2).
    pub(crate) unknown_groups: bool,
    pub(crate) patient: Option<&'static str>,
    /// True if there is a private sequence of undefined length and unknown representation (PS3.5, 6.2.2; CP-246).
    pub(crate) private: bool,
    pub(crate) frames: &'static str,
    /// The number of tiles in a row of the image, if all tiles exist.
    pub(crate) tiled_full: Option<u32>,
    /// False if the file describes neither the organization nor the positions of its frames.
    pub(crate) organized: bool,
    /// The number of optical paths, if the file contains it.
    pub(crate) paths: Option<u32>,
    /// The Extended Offset Table: the start of each frame.
    pub(crate) offsets: &'static [u64],
    /// The mapping from the correct group length to the written one.
    pub(crate) group_length: fn(u32) -> Option<u32>,
}

impl Default for Dicom {
    fn default() -> Self {
        Self {
            class: SLIDE,
            syntax: PLAIN,
            flavor: "VOLUME",
            series: "2.25.7",
            pyramid: Some("2.25.8"),
            parts: None,
            columns: 200,
            rows: 100,
            spacing: Some("0.0005\\0.0005"),
            frame_spacings: &[],
            unknown_groups: false,
            patient: None,
            private: false,
            frames: "1",
            tiled_full: None,
            organized: true,
            paths: None,
            offsets: &[],
            group_length: Some,
        }
    }
}

impl Dicom {
    /// Returns the bytes of the file: gray pixels in color.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let meta = Writer { implicit: false };
        let content = [
            meta.element(0x0002, 0x0001, *b"OB", &[0, 1]),
            meta.uid(0x0002, 0x0002, self.class),
            meta.uid(0x0002, 0x0003, "2.25.9"),
            meta.uid(0x0002, 0x0010, self.syntax),
            meta.uid(0x0002, 0x0012, "2.25.10"),
        ]
        .concat();
        let length = (self.group_length)(u32::try_from(content.len()).unwrap());
        let length = length.map(|length| meta.element(0x0002, 0x0000, *b"UL", &length.to_le_bytes()));
        [vec![0; 128], b"DICM".to_vec(), length.unwrap_or_default(), content, self.data_set(), self.pixels()].concat()
    }

    fn data_set(&self) -> Vec<u8> {
        let write = Writer { implicit: self.syntax == IMPLICIT };
        let text = |group, number, kind, text: &str| write.element(group, number, kind, text.as_bytes());
        let bits = [(0x0100, 8_u16), (0x0101, 8), (0x0102, 7), (0x0103, 0)];
        [
            text(0x0008, 0x0008, *b"CS", &format!("ORIGINAL\\PRIMARY\\{}\\NONE", self.flavor)),
            write.uid(0x0008, 0x0016, self.class),
            write.uid(0x0008, 0x0018, "2.25.9"),
            self.pyramid.map_or_else(Vec::new, |pyramid| write.uid(0x0008, 0x0019, pyramid)),
            if self.private { write.private() } else { Vec::new() },
            self.patient.map_or_else(Vec::new, |patient| text(0x0010, 0x0010, *b"PN", patient)),
            write.uid(0x0020, 0x000d, "2.25.6"),
            write.uid(0x0020, 0x000e, self.series),
            self.parts.map_or_else(Vec::new, |parts| {
                [write.uid(0x0020, 0x9161, "2.25.11"), write.short(0x0020, 0x9163, parts)].concat()
            }),
            write.short(0x0028, 0x0002, 3),
            text(0x0028, 0x0004, *b"CS", "RGB"),
            write.short(0x0028, 0x0006, 0),
            text(0x0028, 0x0008, *b"IS", self.frames),
            write.short(0x0028, 0x0010, self.rows),
            write.short(0x0028, 0x0011, self.columns),
            bits.map(|(number, value)| write.short(0x0028, number, value)).concat(),
            self.tiled_full
                .filter(|_| self.organized)
                .map_or_else(Vec::new, |_| text(0x0020, 0x9311, *b"CS", "TILED_FULL")),
            write.element(
                0x0048,
                0x0006,
                *b"UL",
                &(u32::from(self.columns) * self.tiled_full.unwrap_or(1)).to_le_bytes(),
            ),
            write.element(0x0048, 0x0007, *b"UL", &u32::from(self.rows).to_le_bytes()),
            self.paths.map_or_else(Vec::new, |paths| write.element(0x0048, 0x0302, *b"UL", &paths.to_le_bytes())),
            self.groups(write),
            self.extended_offsets(write),
        ]
        .concat()
    }

    /// Returns the functional groups: the shared ones, and the ones of each frame.
    fn groups(&self, write: Writer) -> Vec<u8> {
        let measures = |write: Writer, spacing: Option<&str>| {
            let spacing = spacing.map(|spacing| write.element(0x0028, 0x0030, *b"DS", spacing.as_bytes()));
            write.sequence(0x0028, 0x9110, &spacing.unwrap_or_default())
        };
        let shared = if self.unknown_groups {
            write.element(0x5200, 0x9229, *b"UN", &Writer::item(&measures(Writer { implicit: true }, self.spacing)))
        } else {
            write.sequence(0x5200, 0x9229, &measures(write, self.spacing))
        };
        let frames = self.frame_spacings.iter().map(|spacing| Writer::item(&measures(write, Some(spacing))));
        let frames =
            if self.frame_spacings.is_empty() { Writer::item(&[]) } else { frames.collect::<Vec<_>>().concat() };
        let frames = write.element(0x5200, 0x9230, *b"SQ", &frames);
        [shared, if self.organized { frames } else { Vec::new() }].concat()
    }

    fn extended_offsets(&self, write: Writer) -> Vec<u8> {
        let offsets: Vec<_> = self.offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        if offsets.is_empty() { Vec::new() } else { write.element(0x7fe0, 0x0001, *b"OV", &offsets) }
    }

    fn pixels(&self) -> Vec<u8> {
        let gray = vec![200; 3 * usize::from(self.columns) * usize::from(self.rows)];
        if self.syntax != JPEG {
            return Writer { implicit: self.syntax == IMPLICIT }.element(0x7fe0, 0x0010, *b"OB", &gray);
        }
        // An empty table of offsets, one fragment, and the end (PS3.5, A.4). The frame is not decoded.
        let fragment = [&[0xff, 0xd8][..], &gray, &[0xff, 0xd9]].concat();
        let item = |content: &[u8]| [&tag(0xfffe, 0xe000)[..], &length(content), content].concat();
        let start = [&tag(0x7fe0, 0x0010)[..], b"OB\0\0", &[0xff; 4]].concat();
        [start, item(&[]), item(&fragment), tag(0xfffe, 0xe0dd).to_vec(), vec![0; 4]].concat()
    }
}

fn tag(group: u16, number: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (group.to_le_bytes(), number.to_le_bytes());
    [a, b, c, d]
}

fn length(content: &[u8]) -> [u8; 4] {
    u32::try_from(content.len()).unwrap().to_le_bytes()
}

/// A writer of elements, with or without value representations.
#[derive(Clone, Copy)]
struct Writer {
    implicit: bool,
}

impl Writer {
    fn element(self, group: u16, number: u16, kind: [u8; 2], content: &[u8]) -> Vec<u8> {
        let mut content = content.to_vec();
        if !content.len().is_multiple_of(2) {
            content.push(if [*b"UI", *b"OB"].contains(&kind) { 0 } else { b' ' });
        }
        if self.implicit {
            return [&tag(group, number)[..], &length(&content), &content].concat();
        }
        let head = [&tag(group, number)[..], &kind].concat();
        if [*b"OB", *b"OV", *b"SQ", *b"UN"].contains(&kind) {
            return [&head, &[0; 2][..], &length(&content), &content].concat();
        }
        let short = u16::try_from(content.len()).unwrap().to_le_bytes();
        [&head, &short[..], &content].concat()
    }

    fn uid(self, group: u16, number: u16, uid: &str) -> Vec<u8> {
        self.element(group, number, *b"UI", uid.as_bytes())
    }

    fn short(self, group: u16, number: u16, value: u16) -> Vec<u8> {
        self.element(group, number, *b"US", &value.to_le_bytes())
    }

    fn sequence(self, group: u16, number: u16, content: &[u8]) -> Vec<u8> {
        self.element(group, number, *b"SQ", &Self::item(content))
    }

    fn item(content: &[u8]) -> Vec<u8> {
        [&tag(0xfffe, 0xe000)[..], &length(content), content].concat()
    }

    /// Returns a private sequence of undefined length, with an item of undefined length in implicit representation.
    fn private(self) -> Vec<u8> {
        let content = Self { implicit: true }.element(0x0009, 0x1002, *b"LO", b"private");
        let kind = if self.implicit { &[][..] } else { b"UN\0\0" };
        let start = [&tag(0x0009, 0x1001)[..], kind, &[0xff; 4], &tag(0xfffe, 0xe000), &[0xff; 4]].concat();
        let end = |number| [&tag(0xfffe, number)[..], &[0; 4]].concat();
        let creator = self.element(0x0009, 0x0010, *b"LO", b"CREATOR");
        [creator, start, content, end(0xe00d), end(0xe0dd)].concat()
    }
}
