//! Request bodies that a server does not read because it rejects the request.
//!
//! If a server closes a connection with unread bytes, the connection is reset, and the client may receive the reset
//! instead of the response. Therefore the rest of the body is read before an error response is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::timeout;

/// The time without new bytes after which the client is assumed to wait for the response.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// A request body that is shared with the server that reads it.
pub(super) struct UnreadBody(Option<SharedBody>);

#[derive(Clone)]
struct SharedBody(Arc<Mutex<Body>>);

impl UnreadBody {
    /// Replaces the body of a request, and returns the request and a handle that can read the rest of the body.
    pub(super) fn share(request: Request) -> (Request, Self) {
        // A client that waits for `100 Continue` sends nothing until the body is read (RFC 9110, section 10.1.1).
        if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
            return (request, Self(None));
        }
        let (parts, body) = request.into_parts();
        let shared = SharedBody(Arc::new(Mutex::new(body)));
        (Request::from_parts(parts, Body::new(shared.clone())), Self(Some(shared)))
    }

    /// Reads and discards the bytes that the server did not read.
    pub(super) async fn drain(self) {
        let Some(shared) = self.0 else { return };
        let mut body = Body::new(shared).into_data_stream();
        // The loop ends at the end of the body, on an error, or on a timeout.
        while let Ok(Ok(Some(_))) = timeout(IDLE_TIMEOUT, body.try_next()).await {}
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}
