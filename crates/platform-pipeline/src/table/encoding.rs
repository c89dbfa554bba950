//! Encodings and line endings of tables, as written by spreadsheets.

/// The byte order mark, as a character.
const BYTE_ORDER_MARK: char = '\u{feff}';

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
    /// Decodes a file. In the returned text, every line ends with `\n` or `\r\n`, even if the file uses `\r`.
    ///
    /// # Errors
    ///
    /// One text for each invalid line, with the line number.
    pub(super) fn decode(bytes: &[u8]) -> Result<(String, Self), Vec<String>> {
        let unicode = Unicode::of(bytes);
        let text = unicode.decode(bytes)?;
        let without_mark = text.trim_start_matches(BYTE_ORDER_MARK);
        let has_mark = without_mark.len() < text.len();
        let line_ending = LineEnding::of(without_mark);
        let text =
            if line_ending == LineEnding::Cr { without_mark.replace('\r', "\n") } else { without_mark.to_owned() };
        Ok((text, Self { unicode, has_mark, line_ending }))
    }

    /// Encodes text. The line endings of the text must already be of the kind [`line_ending`](Self::line_ending).
    pub(super) fn encode(self, text: &str) -> Vec<u8> {
        let mark = if self.has_mark { BYTE_ORDER_MARK.to_string() } else { String::new() };
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
    /// Detects the encoding by the byte order mark. Without a mark, the encoding is UTF-16 if one of the first two
    /// bytes is zero, because an ASCII character has a zero byte in UTF-16.
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0xff, 0xfe, ..] | [_, 0, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] | [0, ..] => Self::Utf16Be,
            _ => Self::Utf8,
        }
    }

    fn decode(self, bytes: &[u8]) -> Result<String, Vec<String>> {
        let decode_unit: fn([u8; 2]) -> u16 = match self {
            Self::Utf8 => return decode_utf8(bytes),
            Self::Utf16Le => u16::from_le_bytes,
            Self::Utf16Be => u16::from_be_bytes,
        };
        let (pairs, rest) = bytes.as_chunks::<2>();
        let mut text = String::new();
        for character in char::decode_utf16(pairs.iter().map(|pair| decode_unit(*pair))) {
            let invalid_line = |_| vec![format!("line {}: not valid UTF-16", line_number(&text))];
            text.push(character.map_err(invalid_line)?);
        }
        if rest.is_empty() { Ok(text) } else { Err(vec![format!("line {}: not valid UTF-16", line_number(&text))]) }
    }
}

/// Decodes UTF-8. The error lists all invalid lines.
fn decode_utf8(bytes: &[u8]) -> Result<String, Vec<String>> {
    String::from_utf8(bytes.to_vec()).map_err(|_| {
        let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
        let invalid_lines = lines.filter(|(line, _)| std::str::from_utf8(line).is_err());
        invalid_lines
            .map(|(_, number): (_, u64)| format!("line {number}: neither UTF-8 nor UTF-16: save the table as UTF-8"))
            .collect()
    })
}

fn line_number(text: &str) -> usize {
    text.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_encoding_round_trips() {
        let text = "external_id;tissue\r\nä.svs;LUNG\r\n";
        let utf16 = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        let with_mark = |mark: &[u8], bytes: Vec<u8>| [mark, &bytes].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            with_mark(b"\xef\xbb\xbf", text.as_bytes().to_vec()),
            with_mark(b"\xff\xfe", utf16(u16::to_le_bytes)),
            with_mark(b"\xfe\xff", utf16(u16::to_be_bytes)),
            utf16(u16::to_le_bytes),
        ] {
            let (decoded, encoding) = Encoding::decode(&bytes).unwrap();
            assert_eq!((decoded.as_str(), encoding.line_ending), (text, LineEnding::CrLf));
            assert_eq!(encoding.encode(&decoded), bytes);
        }
    }

    #[test]
    fn errors_name_the_lines_with_invalid_encoding() {
        let problems = Encoding::decode(b"external_id;tissue\nM\xfcller.svs;\na.svs;\nK\xf6hler.svs;\n").unwrap_err();
        assert!(problems.len() == 2 && problems[0].starts_with("line 2:") && problems[1].starts_with("line 4:"));
        assert_eq!(Encoding::decode(b"\xff\xfea\0\n\0\x00\xd8").unwrap_err(), ["line 2: not valid UTF-16"]);
    }

    #[test]
    fn single_carriage_returns_are_line_endings() {
        let (text, encoding) = Encoding::decode(b"external_id\ra\r").unwrap();
        assert_eq!((text.as_str(), encoding.line_ending.as_str()), ("external_id\na\n", "\r"));
    }
}
