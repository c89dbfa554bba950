//! The names of the servers.

use serde::{Deserialize, Serialize};

/// One of the three servers of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Server {
    /// The identity provider.
    Identity,
    /// The API.
    Api,
    /// The object storage.
    Storage,
}

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Api => "api",
            Self::Storage => "storage",
        }
    }
}
