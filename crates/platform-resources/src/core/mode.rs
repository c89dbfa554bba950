//! The options of a call.

use std::time::Duration;

use auth_core::Secret;

/// The subject of a response. It determines the settings of the call, and the responses that a write invalidates.
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
    /// The share token of another user.
    pub(crate) share_token: Option<Secret>,
    pub(crate) caching: Caching,
    /// True if "not found" is an immediate error, without waiting for replicas.
    pub(crate) no_wait: bool,
    /// The deadline of all attempts together.
    pub(crate) deadline: Option<Duration>,
    /// The call follows a run or belongs to a transfer, and is retried for longer.
    pub(crate) is_transfer: bool,
    /// The limit of retries while other calls succeed. The caller can do other work.
    pub(crate) single_limit: Option<Duration>,
}

/// The use of the response cache by a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caching {
    #[default]
    Use,
    /// The response is stored, but a stored one is not used.
    Bypass,
    /// Nothing is used or stored: the response is large, and changes soon.
    NoStore,
}
