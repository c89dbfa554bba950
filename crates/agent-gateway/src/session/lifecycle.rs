//! The lifecycles of MCP: without sessions since 2026-07-28, with `initialize` before.

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
    Sessions,
}

impl Lifecycle {
    /// Returns how to start a session with a server whose lifecycle is `known`. A server that is not known, or that was
    /// stateless, receives `server/discover` first, and `initialize` if it does not support that.
    pub(super) fn mode(known: Option<Self>) -> ClientLifecycleMode {
        match known {
            Some(Self::Sessions) => ClientLifecycleMode::Initialize,
            Some(Self::Stateless) | None => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::LATEST],
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            },
        }
    }

    /// Returns the lifecycle that was negotiated.
    pub(super) fn of(peer: &Peer<RoleClient>) -> Self {
        match peer.peer_info() {
            Some(info) if !info.protocol_version.has_initialize() => Self::Stateless,
            _ => Self::Sessions,
        }
    }

    /// Returns true if a server of this lifecycle would not respond with this error, because another version of the
    /// server has replaced it.
    pub(super) fn is_contradicted_by(self, error: &GatewayError) -> bool {
        match self {
            Self::Stateless => matches!(error.status(), Some(400 | 404 | 405)),
            Self::Sessions => error.status() == Some(400) || error.code() == Some(UNSUPPORTED_VERSION),
        }
    }
}
