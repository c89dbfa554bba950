//! The lifecycle of tokens, through the public API.
#![allow(clippy::unwrap_used, clippy::panic, clippy::unchecked_time_subtraction, reason = "a test may panic")]

mod building;
mod caches;
mod composed;
mod dropped_calls;
mod external;
mod interleavings;
mod keys;
mod leases;
mod lifecycle;
mod outages;
mod policies;
mod rejections;
mod shared_caches;
mod single_use;
mod timeouts;
mod traits;
mod values;

use std::sync::Arc;
use std::time::Duration;

use auth_core::{AccessToken, AsyncTokenCache, TokenKey, TokenRequest, TokenSource};
use platform_testkit::{ManualClock, RemoteStore, ScriptedProvider};

const MINUTE: Duration = Duration::from_secs(60);

/// A token source with its clock and its provider, which returns `token-1`, `token-2`, …, each valid for an hour.
struct Fixture {
    clock: Arc<ManualClock>,
    provider: Arc<ScriptedProvider>,
    source: TokenSource,
}

impl Fixture {
    /// Creates a source with a cache in memory.
    fn new() -> Self {
        Self::with_builder(|builder, _| builder)
    }

    /// Creates a source with a remote cache, without local copies.
    fn remote(store: &RemoteStore) -> Self {
        let cache: Arc<dyn AsyncTokenCache> = Arc::new(store.clone());
        Self::with_builder(|builder, _| builder.with_cache(cache).with_local_copy(Duration::ZERO))
    }

    fn with_builder(
        set_up: impl FnOnce(auth_core::TokenSourceBuilder, &Arc<ManualClock>) -> auth_core::TokenSourceBuilder,
    ) -> Self {
        let clock = Arc::new(ManualClock::default());
        let provider = Arc::new(ScriptedProvider::new(clock.clone()));
        let builder = TokenSource::builder(key(), provider.clone()).with_clock(clock.clone());
        let source = set_up(builder, &clock).build().unwrap();
        Self { clock, provider, source }
    }

    /// Returns the number of provider calls.
    fn calls(&self) -> usize {
        self.provider.calls().len()
    }

    /// Obtains a token from the source, and returns its text.
    async fn obtain_text(&self) -> String {
        text_of(&self.source.token().await.unwrap())
    }

    /// Rejects a token, and waits until the cache has deleted it.
    async fn reject(&self, token: &AccessToken) {
        self.source.reject(&TokenRequest::new(), token);
        self.run_until_idle().await;
    }

    /// Lets background tasks run until they wait for something else.
    async fn run_until_idle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

fn key() -> TokenKey {
    TokenKey::builder("https://issuer.example/").with_identity("test").build()
}

fn text_of(token: &AccessToken) -> String {
    token.secret().expose().to_owned()
}

fn token(text: &str) -> AccessToken {
    AccessToken::try_from(text).unwrap()
}
