use std::sync::Arc;

use url::Url;

use crate::{ApiError, CallOptions, Operation, Transport, exchange};

/// Sends operations to one platform. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<dyn Transport>,
    root: Url,
}

impl Client {
    /// A client of the platform at `root`, such as `https://platform.aignostics.com`. A path of the
    /// root is kept before the path of each operation.
    pub fn new(transport: impl Transport + 'static, root: Url) -> Self {
        Self { transport: Arc::new(transport), root }
    }

    /// Sends `operation` and reads its answer.
    ///
    /// # Errors
    ///
    /// No answer came, the platform refused ([`ApiError::status`]), or the answer was not understood.
    pub async fn send<O: Operation>(&self, operation: &O) -> Result<O::Output, ApiError> {
        self.send_with(operation, &CallOptions::default()).await
    }

    /// The same, with what this call differs in from others.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub async fn send_with<O: Operation>(&self, operation: &O, options: &CallOptions) -> Result<O::Output, ApiError> {
        let request = exchange::request(&self.root, operation, options)?;
        let asked = exchange::asked(&request);
        exchange::answer::<O>(self.transport.send(request).await).map_err(|error| error.to(asked))
    }
}
