//! A request body that a fault interrupts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::fault::Effect;
use crate::server::connection::Reset;

/// A request body that ends or stalls after its first bytes.
pub(super) struct InterruptedBody {
    body: Body,
    /// The number of bytes that can still be read.
    remaining: u64,
    /// The handle that resets the connection; `None` if reading stalls instead.
    reset: Option<Reset>,
}

/// Returns the request body. If one of the effects interrupts the request, the body is interrupted.
pub(super) fn interrupt(body: Body, effects: &[Effect], reset: &Reset) -> Body {
    let interruption = effects.iter().find_map(|effect| match effect {
        Effect::ResetRequest { after_bytes } => Some((*after_bytes, Some(reset.clone()))),
        Effect::StallRequest { after_bytes } => Some((*after_bytes, None)),
        _ => None,
    });
    match interruption {
        Some((remaining, reset)) => Body::new(InterruptedBody { body, remaining, reset }),
        None => body,
    }
}

impl HttpBody for InterruptedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.remaining == 0 {
            // The read stalls, because the task is not woken.
            let Some(reset) = &self.reset else { return Poll::Pending };
            reset.request();
            return Poll::Ready(Some(Err(axum::Error::new(io::Error::other("a fault ends the request")))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        Poll::Ready(Some(Ok(frame.map_data(|mut data| {
            data.truncate(usize::try_from(self.remaining).unwrap_or(usize::MAX));
            self.remaining -= data.len() as u64;
            data
        }))))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
