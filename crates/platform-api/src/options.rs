use std::fmt;
use std::time::Duration;

use auth_core::Secret;

/// The options of one call. `Debug` shows neither header values nor share tokens.
///
/// ```
/// use std::time::Duration;
/// use platform_api::CallOptions;
///
/// let options = CallOptions::new().with_timeout(Duration::from_secs(120)).with_header("x-request-id", "7");
/// ```
#[derive(Clone, Default)]
pub struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) share_token: Option<Secret>,
}

impl CallOptions {
    /// Creates options with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the timeout of the request and its response [default: 30 s]. It does not include the time to obtain a
    /// token.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Adds a header. A call with `authorization`, `cookie`, `host` or `content-length` fails, because the transport
    /// sets them.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends a share token with operations that accept one. A share token of the operation itself takes precedence.
    pub fn with_share_token(mut self, share_token: Secret) -> Self {
        self.share_token = Some(share_token);
        self
    }
}

impl fmt::Debug for CallOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("CallOptions")
            .field("timeout", &self.timeout)
            .field("headers", &names)
            .field("share_token", &self.share_token)
            .finish()
    }
}
