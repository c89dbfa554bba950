//! A parser of event streams (WHATWG HTML, section 9.2.6).
//!
//! It replaces the parser of the library, which ends a stream at lines that the standard ignores: an unknown field, a
//! field without a colon, a repeated field, or a `retry` that is not a number.

use std::collections::VecDeque;

use sse_stream::Sse;

/// The byte order mark that may start a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A parser for the chunks of a stream. It does not store comments, so that heartbeats need no memory.
pub(super) struct Parser {
    /// The bytes of the current line, unless it is a comment.
    line: Vec<u8>,
    is_comment: bool,
    /// True if the last chunk ended with a carriage return. The next chunk may begin with its line feed.
    after_carriage_return: bool,
    /// True until the first line ends.
    is_first_line: bool,
    event: Sse,
    /// The size of the event so far, in bytes.
    size: usize,
    max_size: usize,
}

/// The error of an event that is larger than the maximum.
#[derive(Debug)]
pub(super) struct TooLarge;

impl Parser {
    pub(super) fn new(max_size: usize) -> Self {
        Self {
            line: Vec::new(),
            is_comment: false,
            after_carriage_return: false,
            is_first_line: true,
            event: Sse::default(),
            size: 0,
            max_size,
        }
    }

    /// Parses a chunk, and appends the events that it completes.
    pub(super) fn push(&mut self, mut chunk: &[u8], events: &mut VecDeque<Sse>) -> Result<(), TooLarge> {
        if self.after_carriage_return && !chunk.is_empty() {
            self.after_carriage_return = false;
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        while let Some(end) = chunk.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            self.extend(&chunk[..end])?;
            events.extend(self.end_line()?);
            let is_carriage_return = chunk[end] == b'\r';
            chunk = &chunk[end + 1..];
            self.after_carriage_return = is_carriage_return && chunk.is_empty();
            if is_carriage_return {
                chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
            }
        }
        self.extend(chunk)
    }

    /// Returns the event that the end of the stream completes. The standard discards an event without a final empty
    /// line, but some servers omit the line after the last event.
    pub(super) fn finish(&mut self) -> Option<Sse> {
        let unfinished = self.end_line();
        unfinished.ok().flatten().or_else(|| self.dispatch())
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        if self.line.is_empty() && !self.is_comment {
            self.is_comment = part.first() == Some(&b':');
        }
        if self.is_comment {
            return Ok(());
        }
        if self.size + self.line.len() + part.len() > self.max_size {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Sse>, TooLarge> {
        if std::mem::take(&mut self.is_comment) {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.line);
        let line = if std::mem::take(&mut self.is_first_line) {
            line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line)
        } else {
            &line
        };
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        self.size += line.len();
        if self.size > self.max_size {
            return Err(TooLarge);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon.map_or((line, &[][..]), |colon| (&line[..colon], &line[colon + 1..]));
        self.set_field(name, &String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value)));
        Ok(None)
    }

    fn set_field(&mut self, name: &[u8], value: &str) {
        match name {
            b"data" => match &mut self.event.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                empty => *empty = Some(value.to_owned()),
            },
            b"event" => self.event.event = Some(value.to_owned()),
            b"id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            b"retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.event.retry = value.parse().ok().or(self.event.retry);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Sse> {
        self.size = 0;
        let event = std::mem::take(&mut self.event);
        (event != Sse::default()).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a stream in chunks of a size.
    fn parse(stream: &[u8], size: usize) -> Vec<Sse> {
        let (mut parser, mut events) = (Parser::new(1 << 20), VecDeque::new());
        stream.chunks(size).for_each(|chunk| parser.push(chunk, &mut events).unwrap());
        events.extend(parser.finish());
        events.into()
    }

    #[test]
    fn all_line_ends_and_chunk_sizes_give_the_same_events() {
        let text =
            "\u{feff}: hello\nid: 1\nretry: 20\ndata: {\"a\":\ndata: 1}\n\nevent: ping\ndata\n\n: bye\n\ndata: last";
        let expected = [
            Sse::default().id("1").retry(20).data("{\"a\":\n1}"),
            Sse::default().event("ping").data(""),
            Sse::default().data("last"),
        ];
        for end in ["\n", "\r\n", "\r"] {
            let stream = text.replace('\n', end);
            for size in 1..=stream.len() {
                assert_eq!(parse(stream.as_bytes(), size), expected, "{end:?} in chunks of {size}");
            }
        }
    }

    #[test]
    fn lines_that_the_standard_ignores_do_not_end_the_stream() {
        let stream =
            b"retry: soon\nid: a\0b\nunknown: 1\nnothing\nevent: x\nevent: message\nid: 1\nid: 2\ndata:  \xff\n\n";
        assert_eq!(parse(stream, 7), [Sse::default().event("message").id("2").data(" \u{fffd}")]);
    }

    #[test]
    fn event_size_is_limited_but_not_the_stream() {
        let (mut parser, mut events) = (Parser::new(1000), VecDeque::new());
        for _ in 0..1000 {
            assert!(parser.push(&[b"data: ", &[b'x'; 900][..], b"\r\n\r\n"].concat(), &mut events).is_ok());
            assert!(parser.push(b": still here, and this line has no end of its own", &mut events).is_ok());
            assert!(parser.push(b"\n", &mut events).is_ok());
        }
        assert_eq!(events.len(), 1000);
        assert!(parser.push(&[b':'; 5000], &mut events).is_ok() && parser.line.is_empty());
        assert!(parser.push(b"\n", &mut events).is_ok());
        assert!(parser.push(&[b'x'; 1001], &mut events).is_err());
        let mut parser = Parser::new(1000);
        assert!((0..300).any(|_| parser.push(b"data: 1\n", &mut VecDeque::new()).is_err()));
    }
}
