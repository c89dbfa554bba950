use std::io;

use auth_http::BlockingRuntime;

use crate::transport::{ApiRequest, ApiResponse, Transport, TransportError};

/// An adapter that makes an asynchronous transport blocking. It runs the transport on its own runtime. A call inside
/// another runtime would block a worker thread of that runtime, so it returns an error instead
/// ([`ApiError::is_inside_runtime`](crate::ApiError::is_inside_runtime)).
#[derive(Debug)]
pub struct OnRuntime<T> {
    transport: T,
    runtime: BlockingRuntime,
}

impl<T: Transport> OnRuntime<T> {
    /// Creates an adapter for `transport`, with a runtime of one thread.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn new(transport: T) -> io::Result<Self> {
        Ok(Self { transport, runtime: BlockingRuntime::new("platform-api")? })
    }
}

impl<T: Transport> super::Transport for OnRuntime<T> {
    fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        self.runtime.run(self.transport.send(request)).unwrap_or_else(|error| Err(TransportError::not_sent(error)))
    }
}
