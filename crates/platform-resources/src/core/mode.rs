//! Options of calls.

use std::time::Duration;

use auth_core::Secret;

/// A group of operations. It determines the settings of a call, and the responses that a write invalidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    Me,
    Application,
    Version,
    Run,
    Access,
}

/// The options of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mode {
    /// A share token that is sent with reads.
    pub(crate) share_token: Option<Secret>,
    pub(crate) caching: Caching,
    /// True if "not found" is returned immediately. Otherwise a read waits for replicas that may lag behind.
    pub(crate) no_wait: bool,
    /// The maximum time of all attempts together.
    pub(crate) deadline: Option<Duration>,
    /// True if the call follows a run or belongs to a transfer. It is then retried for longer.
    pub(crate) is_transfer: bool,
    /// The time limit for retries while other calls to the same host succeed. It lets the caller do other work first.
    pub(crate) request_limit: Option<Duration>,
}

/// The use of the response cache by a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caching {
    #[default]
    Use,
    /// The response is cached, but no cached response is used.
    Bypass,
    /// The cache is neither read nor written, because the response is large and changes soon.
    NoStore,
}
