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
pub struct BuildError(#[from] BuildKind);

#[derive(Debug, thiserror::Error)]
enum BuildKind {
    #[error("no encryption is configured: set a sealing key, or call `without_sealing`")]
    NoSealing,
    #[error("both sealing keys and `without_sealing` are configured: remove one of them")]
    BothSealings,
    #[error("invalid sealing key: expected 32 random bytes in base64, such as the output of `openssl rand -base64 32`")]
    SealingKey,
    #[error("invalid namespace {0:?}: expected 1 to 64 of the characters A-Z a-z 0-9 . _ - :")]
    Namespace(String),
    #[error(
        "{0} is not the address of a Redis server: expected redis:// or rediss:// with a host, a port and a database"
    )]
    Address(String),
    #[error("the connection to {0} is not encrypted: use rediss://, or allow it with `with_plain_connections`")]
    PlainConnection(String),
    #[error("a cluster needs the address of at least one of its nodes")]
    NoNodes,
    #[error("cannot read the certificates in '{}': expected a PEM file", path.display())]
    Roots { path: PathBuf, source: io::Error },
    #[error("the connection to {server} cannot be set up: check its address and the certificates")]
    Client { server: String, source: RedisError },
    #[error("{server} refused the user or the password: check both")]
    Refused { server: String, source: RedisError },
}

impl BuildError {
    pub(crate) fn no_sealing() -> Self {
        BuildKind::NoSealing.into()
    }

    pub(crate) fn both_sealings() -> Self {
        BuildKind::BothSealings.into()
    }

    pub(crate) fn sealing_key() -> Self {
        BuildKind::SealingKey.into()
    }

    pub(crate) fn namespace(name: &str) -> Self {
        BuildKind::Namespace(name.to_owned()).into()
    }

    pub(crate) fn address(redacted: &impl ToString) -> Self {
        BuildKind::Address(redacted.to_string()).into()
    }

    pub(crate) fn plain_connection(redacted: &impl ToString) -> Self {
        BuildKind::PlainConnection(redacted.to_string()).into()
    }

    pub(crate) fn no_nodes() -> Self {
        BuildKind::NoNodes.into()
    }

    pub(crate) fn roots(path: &Path, source: io::Error) -> Self {
        BuildKind::Roots { path: path.to_owned(), source }.into()
    }

    pub(crate) fn client(server: &str, source: RedisError) -> Self {
        BuildKind::Client { server: server.to_owned(), source }.into()
    }

    pub(crate) fn refused(server: &str, source: RedisError) -> Self {
        BuildKind::Refused { server: server.to_owned(), source }.into()
    }

    /// Returns true if the server refused the user or the password.
    pub fn is_refused(&self) -> bool {
        matches!(self.0, BuildKind::Refused { .. })
    }

    /// Returns true if the URL is for an unencrypted connection to another machine, and
    /// [`with_plain_connections`](crate::RedisTokenCacheBuilder::with_plain_connections) does not allow it.
    pub fn is_insecure(&self) -> bool {
        matches!(self.0, BuildKind::PlainConnection(_))
    }
}

/// An error of a [`RedisTokenCache`](crate::RedisTokenCache): the source of a [`TokenError`] for which
/// [`is_cache`](TokenError::is_cache) returns true. It never contains a token.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct CacheError(#[from] Kind);

#[derive(Clone, Debug, thiserror::Error)]
enum Kind {
    #[error("{server} did not respond within {waited:?}: check its load and the network, or allow more time")]
    Slow { server: String, waited: Duration },
    #[error("{server} cannot be reached: check that it runs, and the network")]
    Unavailable { server: String, source: RedisError },
    #[error("{server} refused a command: check the rights of the user, and the memory of the server")]
    Refused { server: String, source: RedisError },
    #[error("another process holds the lease and obtained no token within {waited:?}: check its provider")]
    Busy { waited: Duration },
    #[error("cannot serialize the token")]
    Unserializable(#[source] Arc<serde_json::Error>),
    #[error("the token cannot be sealed")]
    Unsealable,
}

impl CacheError {
    pub(crate) fn slow(server: &str, waited: Duration) -> Self {
        Kind::Slow { server: server.to_owned(), waited }.into()
    }

    pub(crate) fn unavailable(server: &str, source: RedisError) -> Self {
        Kind::Unavailable { server: server.to_owned(), source }.into()
    }

    pub(crate) fn refused(server: &str, source: RedisError) -> Self {
        Kind::Refused { server: server.to_owned(), source }.into()
    }

    pub(crate) fn busy(waited: Duration) -> Self {
        Kind::Busy { waited }.into()
    }

    pub(crate) fn unserializable(source: serde_json::Error) -> Self {
        Kind::Unserializable(Arc::new(source)).into()
    }

    pub(crate) fn unsealable() -> Self {
        Kind::Unsealable.into()
    }

    /// Returns the error of the Redis cache that is the source of `error`, or `None` if `error` has another source.
    pub fn of(error: &TokenError) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    /// Returns true if the server is unreachable or did not respond in time. The cache reconnects automatically.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.0, Kind::Unavailable { .. } | Kind::Slow { .. })
    }

    /// Returns true if the server rejected the command: missing permission or no memory, for example.
    pub fn is_refused(&self) -> bool {
        matches!(self.0, Kind::Refused { .. })
    }

    /// Returns true if another process held the lease until the
    /// [lock timeout](crate::RedisTokenCacheBuilder::with_lock_timeout).
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, Kind::Busy { .. })
    }
}

impl From<CacheError> for TokenError {
    fn from(error: CacheError) -> Self {
        let is_transient = matches!(error.0, Kind::Slow { .. } | Kind::Unavailable { .. } | Kind::Busy { .. });
        let error = Self::cache(error);
        if is_transient { error.into_transient() } else { error }
    }
}
