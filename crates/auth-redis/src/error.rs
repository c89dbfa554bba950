use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use auth_core::TokenError;
use redis::RedisError;

/// An error of [`RedisTokenCacheBuilder::connect`](crate::RedisTokenCacheBuilder::connect) or of an invalid
/// [`SealingKey`](crate::SealingKey). It never contains a secret.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BuildError(#[from] BuildErrorKind);

#[derive(Debug, thiserror::Error)]
enum BuildErrorKind {
    #[error("no encryption is configured: set a sealing key, or call `without_sealing`")]
    NoSealing,
    #[error("both sealing keys and `without_sealing` are configured: remove one of them")]
    ContradictorySealing,
    #[error("invalid sealing key: expected 32 random bytes in base64, such as the output of `openssl rand -base64 32`")]
    InvalidSealingKey,
    #[error("invalid namespace {0:?}: expected 1 to 64 of the characters A-Z a-z 0-9 . _ - :")]
    InvalidNamespace(String),
    #[error(
        "{0} is not the address of a Redis server: expected redis:// or rediss:// with a host, a port and a database"
    )]
    InvalidAddress(String),
    #[error("the connection to {0} is not encrypted: use rediss://, or allow it with `with_plain_connections`")]
    UnencryptedConnection(String),
    #[error("a cluster needs the address of at least one of its nodes")]
    NoNodes,
    #[error("cannot read the certificates in '{}': expected a PEM file", path.display())]
    RootCertificates { path: PathBuf, source: io::Error },
    #[error("the connection to {server} cannot be set up: check its address and the certificates")]
    ClientSetup { server: String, source: RedisError },
    #[error("{server} refused the user or the password: check both")]
    Refused { server: String, source: RedisError },
}

impl BuildError {
    pub(crate) fn no_sealing() -> Self {
        BuildErrorKind::NoSealing.into()
    }

    pub(crate) fn contradictory_sealing() -> Self {
        BuildErrorKind::ContradictorySealing.into()
    }

    pub(crate) fn invalid_sealing_key() -> Self {
        BuildErrorKind::InvalidSealingKey.into()
    }

    pub(crate) fn invalid_namespace(name: &str) -> Self {
        BuildErrorKind::InvalidNamespace(name.to_owned()).into()
    }

    pub(crate) fn invalid_address(redacted: &impl ToString) -> Self {
        BuildErrorKind::InvalidAddress(redacted.to_string()).into()
    }

    pub(crate) fn unencrypted_connection(redacted: &impl ToString) -> Self {
        BuildErrorKind::UnencryptedConnection(redacted.to_string()).into()
    }

    pub(crate) fn no_nodes() -> Self {
        BuildErrorKind::NoNodes.into()
    }

    pub(crate) fn unreadable_certificates(path: &Path, source: io::Error) -> Self {
        BuildErrorKind::RootCertificates { path: path.to_owned(), source }.into()
    }

    pub(crate) fn client_setup(server: &str, source: RedisError) -> Self {
        BuildErrorKind::ClientSetup { server: server.to_owned(), source }.into()
    }

    pub(crate) fn refused(server: &str, source: RedisError) -> Self {
        BuildErrorKind::Refused { server: server.to_owned(), source }.into()
    }

    /// Returns true if the server refused the user or the password.
    pub fn is_refused(&self) -> bool {
        matches!(self.0, BuildErrorKind::Refused { .. })
    }

    /// Returns true if the URL requires an unencrypted connection to another machine, which only
    /// [`with_plain_connections`](crate::RedisTokenCacheBuilder::with_plain_connections) allows.
    pub fn is_insecure(&self) -> bool {
        matches!(self.0, BuildErrorKind::UnencryptedConnection(_))
    }
}

/// An error of a [`RedisTokenCache`](crate::RedisTokenCache). It is the source of the [`TokenError`] that the cache
/// returns ([`TokenError::is_cache`]), and never contains a token.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct CacheError(#[from] CacheErrorKind);

#[derive(Clone, Debug, thiserror::Error)]
enum CacheErrorKind {
    #[error("{server} did not respond within {waited:?}: check its load and the network, or allow more time")]
    Slow { server: String, waited: Duration },
    #[error("{server} cannot be reached: check the server and the network")]
    Unavailable { server: String, source: RedisError },
    #[error("{server} refused a command: check the permissions of the user and the memory of the server")]
    Refused { server: String, source: RedisError },
    #[error("another process holds the lease and obtained no token within {waited:?}: check its provider")]
    LeaseHeld { waited: Duration },
    #[error("cannot serialize the token")]
    Unserializable(#[source] Arc<serde_json::Error>),
    #[error("the token cannot be sealed")]
    Unsealable,
}

impl CacheError {
    pub(crate) fn slow(server: &str, waited: Duration) -> Self {
        CacheErrorKind::Slow { server: server.to_owned(), waited }.into()
    }

    pub(crate) fn unavailable(server: &str, source: RedisError) -> Self {
        CacheErrorKind::Unavailable { server: server.to_owned(), source }.into()
    }

    pub(crate) fn refused(server: &str, source: RedisError) -> Self {
        CacheErrorKind::Refused { server: server.to_owned(), source }.into()
    }

    pub(crate) fn lease_held(waited: Duration) -> Self {
        CacheErrorKind::LeaseHeld { waited }.into()
    }

    pub(crate) fn unserializable(source: serde_json::Error) -> Self {
        CacheErrorKind::Unserializable(Arc::new(source)).into()
    }

    pub(crate) fn unsealable() -> Self {
        CacheErrorKind::Unsealable.into()
    }

    /// Returns the error of the Redis cache that is the source of `error`, or `None` if `error` has another source.
    pub fn of(error: &TokenError) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    /// Returns true if the server is unreachable or did not respond in time. The cache reconnects automatically.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.0, CacheErrorKind::Unavailable { .. } | CacheErrorKind::Slow { .. })
    }

    /// Returns true if the server rejected the command, for example because a permission is missing or its memory is
    /// full.
    pub fn is_refused(&self) -> bool {
        matches!(self.0, CacheErrorKind::Refused { .. })
    }

    /// Returns true if another process held the lease until the
    /// [lock timeout](crate::RedisTokenCacheBuilder::with_lock_timeout).
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, CacheErrorKind::LeaseHeld { .. })
    }
}

impl From<CacheError> for TokenError {
    fn from(error: CacheError) -> Self {
        let is_transient = matches!(
            error.0,
            CacheErrorKind::Slow { .. } | CacheErrorKind::Unavailable { .. } | CacheErrorKind::LeaseHeld { .. }
        );
        let error = Self::cache(error);
        if is_transient { error.into_transient() } else { error }
    }
}
