//! An invalid configuration of a source is a build error whose message names the fix.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, MemoryTokenCache, SourceBuildError, TokenCache, TokenError, TokenKey,
    TokenProvider, TokenRequest, TokenSource, TokenSourceBuilder, blocking,
};
use platform_testkit::RemoteStore;

/// A provider with the given properties.
#[derive(Clone, Copy, Debug, Default)]
struct Provider {
    identity: Option<&'static str>,
    needs_lease: bool,
}

const NAMED: Provider = Provider { identity: Some("somebody"), needs_lease: false };
const SINGLE_USE: Provider = Provider { needs_lease: true, ..NAMED };

impl TokenProvider for Provider {
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
impl AsyncTokenProvider for Provider {
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

/// The configuration of a source, for both builders.
#[derive(Clone, Copy, Debug)]
struct Parts {
    provider: Provider,
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

fn parts(provider: Provider, cache: Kind) -> Parts {
    Parts { provider, key_identity: false, identity: false, cache, lease: false, attempt_timeout: None }
}

impl Parts {
    fn key(self) -> TokenKey {
        let key = TokenKey::builder("issuer");
        if self.key_identity { key.with_identity("of-the-key").build() } else { key.build() }
    }

    fn build_async(self) -> Result<TokenSource, SourceBuildError> {
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

    fn build_blocking(self) -> Result<blocking::TokenSource, SourceBuildError> {
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
    fn assert_fails_with(self, expected: &SourceBuildError, fix: &str) {
        for error in [self.build_async().unwrap_err(), self.build_blocking().unwrap_err()] {
            assert_eq!(&error, expected, "{self:?}");
            assert!(error.to_string().contains(fix), "{error}");
        }
    }

    #[track_caller]
    fn assert_builds(self) {
        assert!(self.build_async().is_ok(), "{self:?}");
        assert!(self.build_blocking().is_ok(), "{self:?}");
    }
}

#[test]
fn persistent_cache_requires_an_identity() {
    let unnamed = parts(Provider::default(), Kind::Persistent);
    unnamed.assert_fails_with(&SourceBuildError::MissingIdentity, "`.with_identity(");
    Parts { lease: true, ..unnamed }.assert_fails_with(&SourceBuildError::MissingIdentity, "`.with_identity(");
    Parts { identity: true, ..unnamed }.assert_builds();
    Parts { key_identity: true, ..unnamed }.assert_builds();
    parts(NAMED, Kind::Persistent).assert_builds();
    for cache in [Kind::Default, Kind::None, Kind::Memory] {
        parts(Provider::default(), cache).assert_builds();
    }
}

#[test]
fn single_use_credential_with_a_persistent_cache_requires_a_lease() {
    let without_lease = parts(SINGLE_USE, Kind::Persistent);
    without_lease.assert_fails_with(&SourceBuildError::MissingLease, "`.with_lease(");
    Parts { identity: true, ..without_lease }.assert_fails_with(&SourceBuildError::MissingLease, "`.with_lease(");
    Parts { lease: true, ..without_lease }.assert_builds();
    for cache in [Kind::Default, Kind::None, Kind::Memory] {
        parts(SINGLE_USE, cache).assert_builds();
    }
}

#[test]
fn lease_requires_a_cache() {
    for provider in [Provider::default(), NAMED, SINGLE_USE] {
        let without_cache = Parts { lease: true, ..parts(provider, Kind::Default) };
        without_cache.assert_fails_with(&SourceBuildError::MissingCache, "`.with_cache(");
    }
    Parts { lease: true, ..parts(NAMED, Kind::Persistent) }.assert_builds();
}

#[test]
fn attempt_timeout_of_zero_is_a_build_error() {
    let zero = Parts { attempt_timeout: Some(Duration::ZERO), ..parts(NAMED, Kind::Default) };
    zero.assert_fails_with(&SourceBuildError::ZeroAttemptTimeout, "`.with_attempt_timeout(");
    Parts { attempt_timeout: Some(Duration::from_nanos(1)), ..zero }.assert_builds();
}

#[test]
fn identity_of_the_builder_precedes_that_of_key_and_provider() {
    let all = Parts { identity: true, key_identity: true, ..parts(NAMED, Kind::Default) };
    assert_eq!(all.build_async().unwrap().key().identity(), Some("of-the-builder"));
    let key = Parts { identity: false, ..all };
    assert_eq!(key.build_async().unwrap().key().identity(), Some("of-the-key"));
    let provider = Parts { key_identity: false, ..key };
    assert_eq!(provider.build_async().unwrap().key().identity(), Some("somebody"));
    let unnamed = parts(Provider::default(), Kind::Memory);
    let keys = [unnamed.build_async().unwrap(), unnamed.build_async().unwrap()].map(|source| source.key().clone());
    assert_ne!(keys[0], keys[1]);
}
