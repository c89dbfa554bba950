//! The limits of a request to the identity provider.

use std::time::Duration;

/// The default timeout of a request to the identity provider.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum size of a response, in bytes. Valid responses are much smaller.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;
