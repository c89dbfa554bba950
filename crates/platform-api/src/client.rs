use std::sync::Arc;

use url::Url;

use crate::{ApiError, CallOptions, Operation, Transport, exchange};

/// A client for one platform. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<dyn Transport>,
    root: Url,
}

impl Client {
    /// Creates a client for the platform at `root`, such as `https://platform.aignostics.com`. A path of the root is
    /// prepended to the path of each operation.
    pub fn new(transport: impl Transport + 'static, root: Url) -> Self {
        Self { transport: Arc::new(transport), root }
    }

    /// Sends `operation` and returns its response.
    ///
    /// # Errors
    ///
    /// No response arrived, the platform returned an error status ([`ApiError::status`]), or the response cannot be
    /// decoded.
    pub async fn send<O: Operation>(&self, operation: &O) -> Result<O::Output, ApiError> {
        self.send_with(operation, &CallOptions::default()).await
    }

    /// Sends `operation` with options for this call.
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send).
    pub async fn send_with<O: Operation>(&self, operation: &O, options: &CallOptions) -> Result<O::Output, ApiError> {
        let request = exchange::request(&self.root, operation, options)?;
        let target = exchange::method_and_path(&request);
        exchange::output::<O>(self.transport.send(request).await).map_err(|error| error.with_target(target))
    }
}
