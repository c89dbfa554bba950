//! A request body that a fault interrupts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::fault::Effect;
use crate::server::connection::Reset;

/// A request body of which the server reads only the first bytes.
pub(super) struct Interrupted {
    body: Body,
    /// The number of bytes that can still be read.
    left: u64,
    /// The handle that resets the connection; `None` if reading stalls instead.
    reset: Option<Reset>,
}

/// Returns a request body that is interrupted if the effects contain an interruption of the request.
pub(super) fn interrupt(body: Body, effects: &[Effect], reset: &Reset) -> Body {
    let interrupted = effects.iter().find_map(|effect| match effect {
        Effect::ResetRequest { after_bytes } => Some((*after_bytes, Some(reset.clone()))),
        Effect::StallRequest { after_bytes } => Some((*after_bytes, None)),
        _ => None,
    });
    match interrupted {
        Some((left, reset)) => Body::new(Interrupted { body, left, reset }),
        None => body,
    }
}

impl HttpBody for Interrupted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.left == 0 {
            // Without a wake-up, the read stalls.
            let Some(reset) = &self.reset else { return Poll::Pending };
            reset.request();
            return Poll::Ready(Some(Err(axum::Error::new(io::Error::other("a fault ends the request")))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        Poll::Ready(Some(Ok(frame.map_data(|mut data| {
            data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= data.len() as u64;
            data
        }))))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
