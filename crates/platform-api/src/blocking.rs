//! A client and a transport for blocking callers.

#[cfg(feature = "http")]
mod on_runtime;

use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::{ApiError, ApiRequest, ApiResponse, CallOptions, Operation, TransportError, exchange};

#[cfg(feature = "http")]
pub use on_runtime::OnRuntime;

/// A transport for a blocking [`Client`]. It must follow the rules of [`crate::Transport`].
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    ///
    /// No complete response arrived.
    fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError>;
}

const _: Option<&dyn Transport> = None;

/// A blocking client for one platform. Clones are cheap.
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
    pub fn send<O: Operation>(&self, operation: &O) -> Result<O::Output, ApiError> {
        self.send_with(operation, &CallOptions::default())
    }

    /// Sends `operation` with options for this call.
    ///
    /// # Errors
    ///
    /// The same as [`send`](Self::send).
    pub fn send_with<O: Operation>(&self, operation: &O, options: &CallOptions) -> Result<O::Output, ApiError> {
        let request = exchange::request(&self.root, operation, options)?;
        let target = exchange::method_and_path(&request);
        exchange::output::<O>(self.transport.send(request)).map_err(|error| error.with_target(target))
    }
}
