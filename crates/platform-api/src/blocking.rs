//! The same for callers who block.

use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::{ApiError, ApiRequest, ApiResponse, CallOptions, Operation, TransportError, exchange};

#[cfg(feature = "http")]
pub use crate::http::OnRuntime;

/// Sends requests of a blocking [`Client`]. The rules are those of [`crate::Transport`].
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// No answer came, or only a part of one.
    fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError>;
}

const _: Option<&dyn Transport> = None;

/// Sends operations to one platform, and waits for their answers. Cheap to clone.
#[cfg_attr(feature = "http", doc = "```no_run")]
#[cfg_attr(not(feature = "http"), doc = "```ignore")]
/// use platform_api::blocking::{Client, OnRuntime};
/// use platform_api::operations::GetMe;
///
/// # fn example(http: auth_http::AuthorizedClient) -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new(OnRuntime::new(http)?, "https://platform.aignostics.com".parse()?);
/// println!("{}", client.send(&GetMe::new())?.user.id);
/// # Ok(()) }
/// ```
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
    pub fn send<O: Operation>(&self, operation: &O) -> Result<O::Output, ApiError> {
        self.send_with(operation, &CallOptions::default())
    }

    /// The same, with what this call differs in from others.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn send_with<O: Operation>(&self, operation: &O, options: &CallOptions) -> Result<O::Output, ApiError> {
        let request = exchange::request(&self.root, operation, options)?;
        let asked = exchange::asked(&request);
        exchange::answer::<O>(self.transport.send(request)).map_err(|error| error.to(asked))
    }
}
