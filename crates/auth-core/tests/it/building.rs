//! Parts that do not fit together are a build error of a source, and the message names the fix.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, MemoryTokenCache, SourceBuildError, TokenCache, TokenError, TokenKey,
    TokenProvider, TokenRequest, TokenSource, TokenSourceBuilder, blocking,
};
use platform_testkit::RemoteStore;

/// A provider with these properties.
#[derive(Clone, Copy, Debug, Default)]
struct Described {
    identity: Option<&'static str>,
    needs_lease: bool,
}

const NAMED: Described = Described { identity: Some("somebody"), needs_lease: false };
const SINGLE_USE: Described = Described { needs_lease: true, ..NAMED };

impl TokenProvider for Described {
    fn fetch(&self, _: &TokenRequest) -> Result<AccessToken, TokenError> {
        AccessToken::try_from("a-token")
    }

    fn identity(&self) -> Option<String> {
        self.identity.map(str::to_owned)
    }

    fn needs_lease(&self) -> bool {
        self.needs_lease
    }
}

#[async_trait]
impl AsyncTokenProvider for Described {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        TokenProvider::fetch(self, request)
    }

    fn identity(&self) -> Option<String> {
        TokenProvider::identity(self)
    }

    fn needs_lease(&self) -> bool {
        self.needs_lease
    }
}

/// A persistent, blocking cache.
#[derive(Debug, Default)]
struct Disk(MemoryTokenCache);

impl TokenCache for Disk {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        TokenCache::get(&self.0, key)
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        TokenCache::set(&self.0, key, token)
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        TokenCache::delete(&self.0, key)
    }

    fn clear(&self) -> Result<(), TokenError> {
        TokenCache::clear(&self.0)
    }
}

/// The parts of a source for both builders.
#[derive(Clone, Copy, Debug)]
struct Parts {
    provider: Described,
    key_identity: bool,
    identity: bool,
    cache: Kind,
    lease: bool,
    attempt_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Default,
    None,
    Memory,
    Persistent,
}

fn parts(provider: Described, cache: Kind) -> Parts {
    Parts { provider, key_identity: false, identity: false, cache, lease: false, attempt_timeout: None }
}

impl Parts {
    fn key(self) -> TokenKey {
        let key = TokenKey::builder("issuer");
        if self.key_identity { key.with_identity("of-the-key").build() } else { key.build() }
    }

    fn waiting(self) -> Result<TokenSource, SourceBuildError> {
        let store = RemoteStore::new();
        let mut builder: TokenSourceBuilder = TokenSource::builder(self.key(), self.provider);
        builder = match self.cache {
            Kind::Default => builder,
            Kind::None => builder.without_cache(),
            Kind::Memory => builder.with_cache(Arc::new(MemoryTokenCache::new())),
            Kind::Persistent => builder.with_cache(Arc::new(store.clone())),
        };
        if self.identity {
            builder = builder.with_identity("of-the-builder");
        }
        if self.lease {
            builder = builder.with_lease(Arc::new(store));
        }
        if let Some(limit) = self.attempt_timeout {
            builder = builder.with_attempt_timeout(limit);
        }
        builder.build()
    }

    fn blocking(self) -> Result<blocking::TokenSource, SourceBuildError> {
        let mut builder = blocking::TokenSource::builder(self.key(), self.provider);
        builder = match self.cache {
            Kind::Default => builder,
            Kind::None => builder.without_cache(),
            Kind::Memory => builder.with_cache(Arc::new(MemoryTokenCache::new())),
            Kind::Persistent => builder.with_cache(Arc::new(Disk::default())),
        };
        if self.identity {
            builder = builder.with_identity("of-the-builder");
        }
        if self.lease {
            builder = builder.with_lease(Arc::new(RemoteStore::new()));
        }
        if let Some(limit) = self.attempt_timeout {
            builder = builder.with_attempt_timeout(limit);
        }
        builder.build()
    }

    /// Asserts that both builders return `expected`, and that its message names the method to call.
    #[track_caller]
    fn fail_with(self, expected: &SourceBuildError, fix: &str) {
        for error in [self.waiting().unwrap_err(), self.blocking().unwrap_err()] {
            assert_eq!(&error, expected, "{self:?}");
            assert!(error.to_string().contains(fix), "{error}");
        }
    }

    #[track_caller]
    fn succeed(self) {
        assert!(self.waiting().is_ok(), "{self:?}");
        assert!(self.blocking().is_ok(), "{self:?}");
    }
}

#[test]
fn persistent_cache_needs_an_identity() {
    let unnamed = parts(Described::default(), Kind::Persistent);
    unnamed.fail_with(&SourceBuildError::NoIdentity, "`.with_identity(");
    Parts { lease: true, ..unnamed }.fail_with(&SourceBuildError::NoIdentity, "`.with_identity(");
    Parts { identity: true, ..unnamed }.succeed();
    Parts { key_identity: true, ..unnamed }.succeed();
    parts(NAMED, Kind::Persistent).succeed();
    for cache in [Kind::Default, Kind::None, Kind::Memory] {
        parts(Described::default(), cache).succeed();
    }
}

#[test]
fn single_use_credential_needs_a_lease_over_a_persistent_cache() {
    let parts_of = parts(SINGLE_USE, Kind::Persistent);
    parts_of.fail_with(&SourceBuildError::NoLease, "`.with_lease(");
    Parts { identity: true, ..parts_of }.fail_with(&SourceBuildError::NoLease, "`.with_lease(");
    Parts { lease: true, ..parts_of }.succeed();
    for cache in [Kind::Default, Kind::None, Kind::Memory] {
        parts(SINGLE_USE, cache).succeed();
    }
}

#[test]
fn lease_needs_a_cache() {
    for provider in [Described::default(), NAMED, SINGLE_USE] {
        let without = Parts { lease: true, ..parts(provider, Kind::Default) };
        without.fail_with(&SourceBuildError::NoCache, "`.with_cache(");
    }
    Parts { lease: true, ..parts(NAMED, Kind::Persistent) }.succeed();
}

#[test]
fn attempt_timeout_is_not_zero() {
    let at_once = Parts { attempt_timeout: Some(Duration::ZERO), ..parts(NAMED, Kind::Default) };
    at_once.fail_with(&SourceBuildError::AttemptTimeout, "`.with_attempt_timeout(");
    Parts { attempt_timeout: Some(Duration::from_nanos(1)), ..at_once }.succeed();
}

#[test]
fn identity_of_the_builder_has_precedence() {
    let all = Parts { identity: true, key_identity: true, ..parts(NAMED, Kind::Default) };
    assert_eq!(all.waiting().unwrap().key().identity(), Some("of-the-builder"));
    let key = Parts { identity: false, ..all };
    assert_eq!(key.waiting().unwrap().key().identity(), Some("of-the-key"));
    let provider = Parts { key_identity: false, ..key };
    assert_eq!(provider.waiting().unwrap().key().identity(), Some("somebody"));
    let unnamed = parts(Described::default(), Kind::Memory);
    let keys = [unnamed.waiting().unwrap(), unnamed.waiting().unwrap()].map(|source| source.key().clone());
    assert_ne!(keys[0], keys[1]);
}
