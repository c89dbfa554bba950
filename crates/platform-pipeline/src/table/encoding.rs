//! Encodings and line endings of tables, as written by spreadsheets.

/// A decoded byte order mark.
const MARK: char = '\u{feff}';

/// The file encoding of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    unicode: Unicode,
    has_mark: bool,
    pub(super) line_ending: LineEnding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unicode {
    Utf8,
    Utf16Le,
    Utf16Be,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnding {
    Lf,
    CrLf,
    Cr,
}

impl Default for Encoding {
    fn default() -> Self {
        Self { unicode: Unicode::Utf8, has_mark: false, line_ending: LineEnding::Lf }
    }
}

impl Encoding {
    /// Decodes a file to text in which every line ends with `\n` or `\r\n`.
    ///
    /// # Errors
    ///
    /// The problems, each with its line.
    pub(super) fn decode(bytes: &[u8]) -> Result<(String, Self), Vec<String>> {
        let unicode = Unicode::of(bytes);
        let text = unicode.decode(bytes)?;
        let unmarked = text.trim_start_matches(MARK);
        let has_mark = unmarked.len() < text.len();
        let line_ending = LineEnding::of(unmarked);
        let text = if line_ending == LineEnding::Cr { unmarked.replace('\r', "\n") } else { unmarked.to_owned() };
        Ok((text, Self { unicode, has_mark, line_ending }))
    }

    /// Encodes text with line endings according to [`line_ending`](Self::line_ending).
    pub(super) fn encode(self, text: &str) -> Vec<u8> {
        let mark = if self.has_mark { MARK.to_string() } else { String::new() };
        let text = mark + text;
        match self.unicode {
            Unicode::Utf8 => text.into_bytes(),
            Unicode::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Unicode::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }
}

impl LineEnding {
    fn of(text: &str) -> Self {
        match (text.find('\n'), text.find('\r')) {
            (Some(feed), Some(carriage)) if carriage + 1 == feed => Self::CrLf,
            (None, Some(_)) => Self::Cr,
            _ => Self::Lf,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
            Self::Cr => "\r",
        }
    }
}

impl Unicode {
    /// Detects the encoding by the byte order mark or, without one, by the zero byte of every ASCII character in
    /// UTF-16.
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0xff, 0xfe, ..] | [_, 0, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] | [0, ..] => Self::Utf16Be,
            _ => Self::Utf8,
        }
    }

    fn decode(self, bytes: &[u8]) -> Result<String, Vec<String>> {
        let unit: fn([u8; 2]) -> u16 = match self {
            Self::Utf8 => return utf8(bytes),
            Self::Utf16Le => u16::from_le_bytes,
            Self::Utf16Be => u16::from_be_bytes,
        };
        let (pairs, rest) = bytes.as_chunks::<2>();
        let mut text = String::new();
        for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
            let invalid = |_| vec![format!("line {}: not valid UTF-16", line(&text))];
            text.push(character.map_err(invalid)?);
        }
        if rest.is_empty() { Ok(text) } else { Err(vec![format!("line {}: not valid UTF-16", line(&text))]) }
    }
}

/// Decodes UTF-8. All invalid lines are reported, because each must be repaired.
fn utf8(bytes: &[u8]) -> Result<String, Vec<String>> {
    String::from_utf8(bytes.to_vec()).map_err(|_| {
        let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
        let invalid = lines.filter(|(line, _)| std::str::from_utf8(line).is_err());
        invalid
            .map(|(_, number): (_, u64)| format!("line {number}: neither UTF-8 nor UTF-16: save the table as UTF-8"))
            .collect()
    })
}

fn line(text: &str) -> usize {
    text.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_encoding_round_trips() {
        let text = "external_id;tissue\r\nä.svs;LUNG\r\n";
        let utf16 = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        let marked = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            marked(b"\xef\xbb\xbf", text.as_bytes().to_vec()),
            marked(b"\xff\xfe", utf16(u16::to_le_bytes)),
            marked(b"\xfe\xff", utf16(u16::to_be_bytes)),
            utf16(u16::to_le_bytes),
        ] {
            let (decoded, encoding) = Encoding::decode(&bytes).unwrap();
            assert_eq!((decoded.as_str(), encoding.line_ending), (text, LineEnding::CrLf));
            assert_eq!(encoding.encode(&decoded), bytes);
        }
    }

    #[test]
    fn lines_in_an_unknown_encoding_are_named() {
        let problems = Encoding::decode(b"external_id;tissue\nM\xfcller.svs;\na.svs;\nK\xf6hler.svs;\n").unwrap_err();
        assert!(problems.len() == 2 && problems[0].starts_with("line 2:") && problems[1].starts_with("line 4:"));
        assert_eq!(Encoding::decode(b"\xff\xfea\0\n\0\x00\xd8").unwrap_err(), ["line 2: not valid UTF-16"]);
    }

    #[test]
    fn carriage_returns_alone_end_lines() {
        let (text, encoding) = Encoding::decode(b"external_id\ra\r").unwrap();
        assert_eq!((text.as_str(), encoding.line_ending.as_str()), ("external_id\na\n", "\r"));
    }
}
