use auth_http::{HttpError, Response};
use bytes::Bytes;
use futures_util::stream::{StreamExt, try_unfold};
use sse_stream::SseStream;

use super::Events;

/// The maximum size of an event, in bytes.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// The size of the current event.
#[derive(Default)]
struct Reading {
    /// The bytes of the event, without line ends.
    bytes: usize,
    /// The bytes of the current line.
    line: usize,
}

/// The error of an interrupted stream.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("an event of the stream is larger than {MAX_EVENT_BYTES} bytes")]
    TooLarge,
}

/// Returns the events of a streamed response.
pub(super) fn of(response: Response) -> Events {
    let chunks = try_unfold((response, Reading::default()), |(mut response, mut reading)| async move {
        let Some(chunk) = response.chunk().await? else { return Ok(None) };
        reading.take(&chunk)?;
        Ok::<_, Broken>(Some((chunk, (response, reading))))
    });
    SseStream::from_bytes_stream(chunks.boxed()).boxed()
}

impl Reading {
    /// Counts the bytes of the current event, which ends with an empty line.
    fn take(&mut self, chunk: &Bytes) -> Result<(), Broken> {
        for byte in chunk {
            match byte {
                b'\r' => {}
                b'\n' if self.line == 0 => self.bytes = 0,
                b'\n' => self.line = 0,
                _ => {
                    self.line += 1;
                    self.bytes += 1;
                }
            }
            if self.bytes > MAX_EVENT_BYTES {
                return Err(Broken::TooLarge);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_size_is_limited_but_not_the_stream() {
        let mut reading = Reading::default();
        let line = Bytes::from(format!("data: {}\r\n", "x".repeat(1024 * 1024)));
        for _ in 0..64 {
            assert!(reading.take(&line).is_ok());
            assert!(reading.take(&Bytes::from_static(b"\r\n")).is_ok());
        }
        let endless = (0..64).map(|_| reading.take(&line)).take_while(Result::is_ok).count();
        assert_eq!(endless, 15);
    }
}
