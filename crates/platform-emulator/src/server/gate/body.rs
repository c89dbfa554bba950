//! A response body whose bytes are counted, and that faults can corrupt, limit or interrupt.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use crate::clock::pause;
use crate::fault::Effect;
use crate::journal::RecordedRequest;
use crate::server::connection::Reset;

/// The number of chunks per second in which a body with limited bandwidth is sent.
const CHUNKS_PER_SECOND: u64 = 20;

/// The changes that faults make to a response body.
#[derive(Default)]
pub(super) struct BodyChanges {
    interruption: Option<(u64, Interruption)>,
    corrupted_byte: Option<u64>,
    bytes_per_second: Option<u64>,
}

/// The way in which a body is interrupted.
#[derive(Clone, Copy)]
enum Interruption {
    Close,
    Reset,
    Stall,
}

impl BodyChanges {
    pub(super) fn of(effects: &[Effect]) -> Self {
        let mut changes = Self::default();
        for effect in effects {
            match effect {
                Effect::Reset { after_bytes } => changes.interruption = Some((*after_bytes, Interruption::Reset)),
                Effect::Truncate { after_bytes } => changes.interruption = Some((*after_bytes, Interruption::Close)),
                Effect::Stall { after_bytes } => changes.interruption = Some((*after_bytes, Interruption::Stall)),
                Effect::Corrupt { at_byte } => changes.corrupted_byte = Some(*at_byte),
                Effect::Bandwidth { bytes_per_second } => changes.bytes_per_second = Some(*bytes_per_second),
                _ => {}
            }
        }
        changes
    }
}

pub(super) struct ObservedBody {
    body: Body,
    recorded: Arc<RecordedRequest>,
    changes: BodyChanges,
    reset: Reset,
    sent: u64,
    /// Bytes received from the body and not sent yet.
    unsent: Bytes,
    /// The end of the current pause in sending.
    pause: Option<Pin<Box<Sleep>>>,
    /// True if the connection had the opportunity to send its buffer before the interruption.
    is_flushed: bool,
}

impl ObservedBody {
    pub(super) fn new(body: Body, recorded: Arc<RecordedRequest>, changes: BodyChanges, reset: Reset) -> Self {
        Self { body, recorded, changes, reset, sent: 0, unsent: Bytes::new(), pause: None, is_flushed: false }
    }

    /// Interrupts the body.
    fn interrupt(
        &mut self,
        interruption: Interruption,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match interruption {
            // The body stalls, because the task is not woken.
            Interruption::Stall => return Poll::Pending,
            // While the body is pending, the connection sends the bytes in its buffer.
            _ if !self.is_flushed => {
                self.is_flushed = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Interruption::Reset => self.reset.request(),
            Interruption::Close => {}
        }
        Poll::Ready(Some(Err(axum::Error::new(io::Error::other("a fault ends the response")))))
    }

    /// Returns the next chunk of the unsent bytes. Interruptions and the bandwidth limit its length.
    fn next_chunk(&mut self) -> Bytes {
        let mut length = self.unsent.len() as u64;
        if let Some((after, _)) = self.changes.interruption {
            length = length.min(after - self.sent);
        }
        if let Some(rate) = self.changes.bytes_per_second {
            length = length.min((rate / CHUNKS_PER_SECOND).max(1));
            let milliseconds = length.saturating_mul(1000) / rate;
            self.pause = Some(Box::pin(pause(Duration::from_millis(milliseconds))));
        }
        let chunk = self.unsent.split_to(usize::try_from(length).unwrap_or(usize::MAX));
        let first = self.sent;
        self.sent += length;
        self.recorded.add_sent_bytes(length);
        match self.changes.corrupted_byte {
            Some(position) if (first..self.sent).contains(&position) => {
                let mut corrupted = chunk.to_vec();
                if let Some(byte) = usize::try_from(position - first).ok().and_then(|index| corrupted.get_mut(index)) {
                    *byte ^= 1;
                }
                corrupted.into()
            }
            _ => chunk,
        }
    }
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if let Some((after, interruption)) = self.changes.interruption
            && self.sent >= after
        {
            return self.interrupt(interruption, context);
        }
        while self.unsent.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.unsent = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end_or_error => return Poll::Ready(end_or_error),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.next_chunk()))))
    }

    fn is_end_stream(&self) -> bool {
        self.changes.interruption.is_none() && self.unsent.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .size_hint()
            .exact()
            .map_or_else(SizeHint::default, |size| SizeHint::with_exact(size + self.unsent.len() as u64))
    }
}
