//! DICOM files, written element by element (PS3.5, 7.1.2: Explicit VR Little Endian).

/// The SOP classes of whole-slide images, and of what is drawn on them.
pub(crate) const SLIDE: &str = "1.2.840.10008.5.1.4.1.1.77.1.6";
pub(crate) const ANNOTATION: &str = "1.2.840.10008.5.1.4.1.1.91.1";
/// Transfer syntaxes: plain pixels, and frames in JPEG.
pub(crate) const PLAIN: &str = "1.2.840.10008.1.2.1";
pub(crate) const JPEG: &str = "1.2.840.10008.1.2.4.50";

/// A file of a slide.
#[derive(Clone, Debug)]
pub(crate) struct Dicom {
    pub(crate) class: &'static str,
    pub(crate) syntax: &'static str,
    pub(crate) flavor: &'static str,
    pub(crate) series: &'static str,
    pub(crate) pyramid: Option<&'static str>,
    /// It is one of several parts of an image.
    pub(crate) concatenated: bool,
    pub(crate) columns: u16,
    pub(crate) rows: u16,
    /// Millimetres between rows and columns, as they are written.
    pub(crate) spacing: Option<&'static str>,
}

impl Default for Dicom {
    fn default() -> Self {
        Self {
            class: SLIDE,
            syntax: PLAIN,
            flavor: "VOLUME",
            series: "2.25.7",
            pyramid: Some("2.25.8"),
            concatenated: false,
            columns: 200,
            rows: 100,
            spacing: Some("0.0005\\0.0005"),
        }
    }
}

impl Dicom {
    /// The bytes of the file: one frame of grey pixels in colour.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let meta = [
            element(0x0002, 0x0001, *b"OB", &[0, 1]),
            uid(0x0002, 0x0002, self.class),
            uid(0x0002, 0x0003, "2.25.9"),
            uid(0x0002, 0x0010, self.syntax),
            uid(0x0002, 0x0012, "2.25.10"),
        ]
        .concat();
        let length = u32::try_from(meta.len()).unwrap().to_le_bytes();
        let measures = self.spacing.map_or_else(Vec::new, |text| element(0x0028, 0x0030, *b"DS", text.as_bytes()));
        let shared = sequence(0x0028, 0x9110, &measures);
        let bits = [(0x0100, 8_u16), (0x0101, 8), (0x0102, 7), (0x0103, 0)];
        [
            vec![0; 128],
            b"DICM".to_vec(),
            element(0x0002, 0x0000, *b"UL", &length),
            meta,
            element(0x0008, 0x0008, *b"CS", format!("ORIGINAL\\PRIMARY\\{}\\NONE", self.flavor).as_bytes()),
            uid(0x0008, 0x0016, self.class),
            uid(0x0008, 0x0018, "2.25.9"),
            self.pyramid.map_or_else(Vec::new, |pyramid| uid(0x0008, 0x0019, pyramid)),
            uid(0x0020, 0x000d, "2.25.6"),
            uid(0x0020, 0x000e, self.series),
            if self.concatenated { uid(0x0020, 0x9161, "2.25.11") } else { Vec::new() },
            short(0x0028, 0x0002, 3),
            element(0x0028, 0x0004, *b"CS", b"RGB"),
            short(0x0028, 0x0006, 0),
            element(0x0028, 0x0008, *b"IS", b"1"),
            short(0x0028, 0x0010, self.rows),
            short(0x0028, 0x0011, self.columns),
            bits.map(|(number, value)| short(0x0028, number, value)).concat(),
            element(0x0048, 0x0006, *b"UL", &u32::from(self.columns).to_le_bytes()),
            element(0x0048, 0x0007, *b"UL", &u32::from(self.rows).to_le_bytes()),
            sequence(0x5200, 0x9229, &shared),
            sequence(0x5200, 0x9230, &[]),
            self.pixels(),
        ]
        .concat()
    }

    fn pixels(&self) -> Vec<u8> {
        let grey = vec![200; 3 * usize::from(self.columns) * usize::from(self.rows)];
        if self.syntax == PLAIN {
            return element(0x7fe0, 0x0010, *b"OB", &grey);
        }
        // An empty table of offsets, one fragment, and the end (PS3.5, A.4). Nobody decodes the frame.
        let fragment = [&[0xff, 0xd8][..], &grey, &[0xff, 0xd9]].concat();
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

fn element(group: u16, number: u16, kind: [u8; 2], content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    if !content.len().is_multiple_of(2) {
        content.push(if [*b"UI", *b"OB"].contains(&kind) { 0 } else { b' ' });
    }
    let head = [&tag(group, number)[..], &kind].concat();
    if [*b"OB", *b"SQ"].contains(&kind) {
        return [&head, &[0; 2][..], &length(&content), &content].concat();
    }
    let short = u16::try_from(content.len()).unwrap().to_le_bytes();
    [&head, &short[..], &content].concat()
}

fn uid(group: u16, number: u16, uid: &str) -> Vec<u8> {
    element(group, number, *b"UI", uid.as_bytes())
}

fn short(group: u16, number: u16, value: u16) -> Vec<u8> {
    element(group, number, *b"US", &value.to_le_bytes())
}

/// A sequence of one item.
fn sequence(group: u16, number: u16, content: &[u8]) -> Vec<u8> {
    element(group, number, *b"SQ", &[&tag(0xfffe, 0xe000)[..], &length(content), content].concat())
}
