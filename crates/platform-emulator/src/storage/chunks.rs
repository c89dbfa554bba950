//! Bodies that consist of chunks and a checksum after the chunks (`Content-Encoding: aws-chunked` with
//! `STREAMING-UNSIGNED-PAYLOAD-TRAILER`). Over https, boto3 sends such bodies by default.

use axum::http::StatusCode;

use super::StorageError;

/// The maximum length in bytes of an incomplete line.
const MAX_LINE_BYTES: usize = 8 * 1024;
/// The maximum number of trailers.
const MAX_TRAILERS: usize = 8;

/// Decodes the chunked body of a request.
#[derive(Default)]
pub(super) struct ChunkDecoder {
    /// The received part of a line.
    line: Vec<u8>,
    state: State,
    trailers: Vec<(String, String)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The next bytes are the length of a chunk.
    #[default]
    Length,
    /// The next bytes are the content of a chunk. The number is the number of bytes that are missing.
    Content(usize),
    /// The next bytes are the end of the line after a chunk.
    ChunkEnd,
    Trailer,
    Complete,
}

impl ChunkDecoder {
    /// Decodes the next bytes of the body. Returns the content that they contain.
    pub(super) fn decode(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, StorageError> {
        let mut content = Vec::new();
        while !bytes.is_empty() {
            if let State::Content(missing) = self.state {
                let (available, rest) = bytes.split_at(missing.min(bytes.len()));
                content.extend_from_slice(available);
                bytes = rest;
                self.state = if available.len() == missing {
                    State::ChunkEnd
                } else {
                    State::Content(missing - available.len())
                };
            } else {
                bytes = self.read_line(bytes)?;
            }
        }
        Ok(content)
    }

    /// Returns the trailers of a complete body.
    pub(super) fn finish(self) -> Result<Vec<(String, String)>, StorageError> {
        // The empty line after the trailers may be missing.
        if matches!(self.state, State::Trailer | State::Complete) && self.line.is_empty() {
            return Ok(self.trailers);
        }
        Err(malformed("ends before its last chunk"))
    }

    /// Reads a line or a part of a line. Returns the remaining bytes.
    fn read_line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], StorageError> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            return if self.line.len() > MAX_LINE_BYTES { Err(malformed("has a long line")) } else { Ok(&[]) };
        };
        self.line.extend_from_slice(&bytes[..end]);
        let line = String::from_utf8(std::mem::take(&mut self.line)).map_err(|_| malformed("is not text"))?;
        self.process_line(line.strip_suffix('\r').unwrap_or(&line))?;
        Ok(&bytes[end + 1..])
    }

    /// Processes a complete line, and selects the next state.
    fn process_line(&mut self, line: &str) -> Result<(), StorageError> {
        self.state = match self.state {
            State::Length => {
                let digits = line.split(';').next().unwrap_or_default();
                match usize::from_str_radix(digits, 16).map_err(|_| malformed("has a chunk without a length"))? {
                    0 => State::Trailer,
                    length => State::Content(length),
                }
            }
            State::ChunkEnd if line.is_empty() => State::Length,
            State::Trailer if line.is_empty() => State::Complete,
            State::Trailer if self.trailers.len() == MAX_TRAILERS => return Err(malformed("has too many trailers")),
            State::Trailer => {
                let (name, value) = line.split_once(':').ok_or_else(|| malformed("has an invalid trailer"))?;
                self.trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                State::Trailer
            }
            State::Content(_) | State::ChunkEnd | State::Complete => {
                return Err(malformed("has bytes between its chunks"));
            }
        };
        Ok(())
    }
}

fn malformed(problem: &str) -> StorageError {
    StorageError::new(StatusCode::BAD_REQUEST, "IncompleteBody", format!("the body in chunks {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";

    #[test]
    fn chunks_are_decoded_independently_of_how_the_body_is_split() {
        for size in 1..=BODY.len() {
            let mut decoder = ChunkDecoder::default();
            let content: Vec<u8> =
                BODY.as_bytes().chunks(size).flat_map(|part| decoder.decode(part).ok().unwrap()).collect();
            assert_eq!(content, b"hello world", "{size}");
            let trailers = decoder.finish().ok().unwrap();
            assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "DUoRhQ==".to_owned())]);
        }
    }

    #[test]
    fn malformed_chunks_are_rejected() {
        for body in ["", "5\r\nhel", "5\r\nhello\r\n", "z\r\n", "5\r\nhello!\r\n0\r\n\r\n", "0\r\nchecksum\r\n\r\n"] {
            let mut decoder = ChunkDecoder::default();
            let is_rejected = decoder.decode(body.as_bytes()).is_err() || decoder.finish().is_err();
            assert!(is_rejected, "{body:?}");
        }
    }
}
