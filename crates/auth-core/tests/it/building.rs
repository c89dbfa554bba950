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
struct TestProvider {
    identity: Option<&'static str>,
    needs_lease: bool,
}

const NAMED_PROVIDER: TestProvider = TestProvider { identity: Some("somebody"), needs_lease: false };
const SINGLE_USE_PROVIDER: TestProvider = TestProvider { needs_lease: true, ..NAMED_PROVIDER };

impl TokenProvider for TestProvider {
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
impl AsyncTokenProvider for TestProvider {
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
struct DiskCache(MemoryTokenCache);

impl TokenCache for DiskCache {
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
struct SourceConfig {
    provider: TestProvider,
    has_key_identity: bool,
    has_identity: bool,
    cache: CacheKind,
    has_lease: bool,
    attempt_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
enum CacheKind {
    Default,
    None,
    Memory,
    Persistent,
}

fn config(provider: TestProvider, cache: CacheKind) -> SourceConfig {
    SourceConfig {
        provider,
        has_key_identity: false,
        has_identity: false,
        cache,
        has_lease: false,
        attempt_timeout: None,
    }
}

impl SourceConfig {
    fn key(self) -> TokenKey {
        let key = TokenKey::builder("issuer");
        if self.has_key_identity { key.with_identity("of-the-key").build() } else { key.build() }
    }

    fn build_async(self) -> Result<TokenSource, SourceBuildError> {
        let store = RemoteStore::new();
        let mut builder: TokenSourceBuilder = TokenSource::builder(self.key(), self.provider);
        builder = match self.cache {
            CacheKind::Default => builder,
            CacheKind::None => builder.without_cache(),
            CacheKind::Memory => builder.with_cache(Arc::new(MemoryTokenCache::new())),
            CacheKind::Persistent => builder.with_cache(Arc::new(store.clone())),
        };
        if self.has_identity {
            builder = builder.with_identity("of-the-builder");
        }
        if self.has_lease {
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
            CacheKind::Default => builder,
            CacheKind::None => builder.without_cache(),
            CacheKind::Memory => builder.with_cache(Arc::new(MemoryTokenCache::new())),
            CacheKind::Persistent => builder.with_cache(Arc::new(DiskCache::default())),
        };
        if self.has_identity {
            builder = builder.with_identity("of-the-builder");
        }
        if self.has_lease {
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
    let unnamed_config = config(TestProvider::default(), CacheKind::Persistent);
    unnamed_config.assert_fails_with(&SourceBuildError::MissingIdentity, "`.with_identity(");
    let with_lease = SourceConfig { has_lease: true, ..unnamed_config };
    with_lease.assert_fails_with(&SourceBuildError::MissingIdentity, "`.with_identity(");
    SourceConfig { has_identity: true, ..unnamed_config }.assert_builds();
    SourceConfig { has_key_identity: true, ..unnamed_config }.assert_builds();
    config(NAMED_PROVIDER, CacheKind::Persistent).assert_builds();
    for cache in [CacheKind::Default, CacheKind::None, CacheKind::Memory] {
        config(TestProvider::default(), cache).assert_builds();
    }
}

#[test]
fn single_use_credential_with_a_persistent_cache_requires_a_lease() {
    let without_lease = config(SINGLE_USE_PROVIDER, CacheKind::Persistent);
    without_lease.assert_fails_with(&SourceBuildError::MissingLease, "`.with_lease(");
    let with_identity = SourceConfig { has_identity: true, ..without_lease };
    with_identity.assert_fails_with(&SourceBuildError::MissingLease, "`.with_lease(");
    SourceConfig { has_lease: true, ..without_lease }.assert_builds();
    for cache in [CacheKind::Default, CacheKind::None, CacheKind::Memory] {
        config(SINGLE_USE_PROVIDER, cache).assert_builds();
    }
}

#[test]
fn lease_requires_a_cache() {
    for provider in [TestProvider::default(), NAMED_PROVIDER, SINGLE_USE_PROVIDER] {
        let without_cache = SourceConfig { has_lease: true, ..config(provider, CacheKind::Default) };
        without_cache.assert_fails_with(&SourceBuildError::MissingCache, "`.with_cache(");
    }
    SourceConfig { has_lease: true, ..config(NAMED_PROVIDER, CacheKind::Persistent) }.assert_builds();
}

#[test]
fn attempt_timeout_of_zero_is_a_build_error() {
    let config = config(NAMED_PROVIDER, CacheKind::Default);
    let zero_timeout = SourceConfig { attempt_timeout: Some(Duration::ZERO), ..config };
    zero_timeout.assert_fails_with(&SourceBuildError::ZeroAttemptTimeout, "`.with_attempt_timeout(");
    SourceConfig { attempt_timeout: Some(Duration::from_nanos(1)), ..zero_timeout }.assert_builds();
}

#[test]
fn builder_identity_takes_precedence_over_key_and_provider() {
    let named_config = config(NAMED_PROVIDER, CacheKind::Default);
    let all_identities = SourceConfig { has_identity: true, has_key_identity: true, ..named_config };
    assert_eq!(all_identities.build_async().unwrap().key().identity(), Some("of-the-builder"));
    let key_and_provider = SourceConfig { has_identity: false, ..all_identities };
    assert_eq!(key_and_provider.build_async().unwrap().key().identity(), Some("of-the-key"));
    assert_eq!(named_config.build_async().unwrap().key().identity(), Some("somebody"));
    let unnamed_config = config(TestProvider::default(), CacheKind::Memory);
    let keys = [(); 2].map(|()| unnamed_config.build_async().unwrap().key().clone());
    assert_ne!(keys[0], keys[1]);
}
