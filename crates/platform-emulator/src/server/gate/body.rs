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
use crate::journal::Recorded;
use crate::server::connection::Reset;

/// The number of chunks per second in which a body with limited bandwidth is sent.
const CHUNKS_PER_SECOND: u64 = 20;

/// The changes that faults make to a response body.
#[derive(Default)]
pub(super) struct BodyChanges {
    end: Option<(u64, Interruption)>,
    corrupt: Option<u64>,
    bytes_per_second: Option<u64>,
}

/// The kind of interruption of a body.
#[derive(Clone, Copy)]
enum Interruption {
    Close,
    Reset,
    Never,
}

impl BodyChanges {
    pub(super) fn of(effects: &[Effect]) -> Self {
        let mut changes = Self::default();
        for effect in effects {
            match effect {
                Effect::Reset { after_bytes } => changes.end = Some((*after_bytes, Interruption::Reset)),
                Effect::Truncate { after_bytes } => changes.end = Some((*after_bytes, Interruption::Close)),
                Effect::Stall { after_bytes } => changes.end = Some((*after_bytes, Interruption::Never)),
                Effect::Corrupt { at_byte } => changes.corrupt = Some(*at_byte),
                Effect::Bandwidth { bytes_per_second } => changes.bytes_per_second = Some(*bytes_per_second),
                _ => {}
            }
        }
        changes
    }
}

pub(super) struct ObservedBody {
    body: Body,
    recorded: Arc<Recorded>,
    changes: BodyChanges,
    reset: Reset,
    sent: u64,
    /// Bytes received from the body and not sent yet.
    rest: Bytes,
    /// The end of the current pause in sending.
    pause: Option<Pin<Box<Sleep>>>,
    /// True if the connection was able to send the bytes before the interruption.
    flushed: bool,
}

impl ObservedBody {
    pub(super) fn new(body: Body, recorded: Arc<Recorded>, changes: BodyChanges, reset: Reset) -> Self {
        Self { body, recorded, changes, reset, sent: 0, rest: Bytes::new(), pause: None, flushed: false }
    }

    /// Interrupts the body.
    fn end(&mut self, end: Interruption, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match end {
            // Without a wake-up, the body stalls.
            Interruption::Never => return Poll::Pending,
            // The connection sends its buffer while it waits.
            _ if !self.flushed => {
                self.flushed = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Interruption::Reset => self.reset.request(),
            Interruption::Close => {}
        }
        Poll::Ready(Some(Err(axum::Error::new(io::Error::other("a fault ends the response")))))
    }

    /// Returns the next chunk of the available bytes, up to its maximum size.
    fn piece(&mut self) -> Bytes {
        let mut most = self.rest.len() as u64;
        if let Some((after, _)) = self.changes.end {
            most = most.min(after - self.sent);
        }
        if let Some(rate) = self.changes.bytes_per_second {
            most = most.min((rate / CHUNKS_PER_SECOND).max(1));
            let milliseconds = most.saturating_mul(1000) / rate;
            self.pause = Some(Box::pin(pause(Duration::from_millis(milliseconds))));
        }
        let piece = self.rest.split_to(usize::try_from(most).unwrap_or(usize::MAX));
        let first = self.sent;
        self.sent += most;
        self.recorded.sent(most);
        match self.changes.corrupt {
            Some(at) if (first..self.sent).contains(&at) => {
                let mut changed = piece.to_vec();
                if let Some(byte) = usize::try_from(at - first).ok().and_then(|at| changed.get_mut(at)) {
                    *byte ^= 1;
                }
                changed.into()
            }
            _ => piece,
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
        if let Some((after, end)) = self.changes.end
            && self.sent >= after
        {
            return self.end(end, context);
        }
        while self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.changes.end.is_none() && self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .size_hint()
            .exact()
            .map_or_else(SizeHint::default, |size| SizeHint::with_exact(size + self.rest.len() as u64))
    }
}
