//! The lifecycles of MCP: stateless since 2026-07-28, with `initialize` and sessions in earlier versions.

use rmcp::RoleClient;
use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientLifecycleMode, Peer};

use crate::error::GatewayError;

/// The error code of a server that does not support the version of a request (MCP 2026-07-28, versioning).
const UNSUPPORTED_VERSION: i32 = rmcp::model::ErrorCode::UNSUPPORTED_PROTOCOL_VERSION.0;

/// The lifecycle that a server supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// `server/discover`, and metadata in every request.
    Stateless,
    /// `initialize`, and a session.
    Stateful,
}

impl Lifecycle {
    /// Returns the mode in which to start a session. Unless the server is known to have sessions, it first receives
    /// `server/discover`, and then `initialize` if it does not support `server/discover`.
    pub(super) fn start_mode(known: Option<Self>) -> ClientLifecycleMode {
        match known {
            Some(Self::Stateful) => ClientLifecycleMode::Initialize,
            Some(Self::Stateless) | None => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::LATEST],
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            },
        }
    }

    /// Returns the lifecycle that was negotiated.
    pub(super) fn negotiated(peer: &Peer<RoleClient>) -> Self {
        match peer.peer_info() {
            Some(info) if !info.protocol_version.has_initialize() => Self::Stateless,
            _ => Self::Stateful,
        }
    }

    /// Returns true if a server of this lifecycle does not respond with this error. In this case, a version of the
    /// server with another lifecycle has probably replaced it.
    pub(super) fn is_contradicted_by(self, error: &GatewayError) -> bool {
        match self {
            Self::Stateless => matches!(error.status(), Some(400 | 404 | 405)),
            Self::Stateful => error.status() == Some(400) || error.code() == Some(UNSUPPORTED_VERSION),
        }
    }
}
