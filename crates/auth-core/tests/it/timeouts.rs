//! Attempts that exceed their timeout, or never end.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Clock, MemoryTokenCache, SystemClock, TokenCache, TokenError, TokenProvider,
    TokenRequest, TokenSource, blocking,
};
use platform_testkit::ScriptedProvider;
use tokio::runtime::Runtime;

use super::{Fixture, key, text_of, token};

/// A blocking provider with a single-use credential, whose calls wait until it is opened.
#[derive(Debug, Default)]
struct SlowProvider {
    calls: Mutex<usize>,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl SlowProvider {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl TokenProvider for SlowProvider {
    fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        drop(self.opened.wait_while(self.is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
        Ok(token(&format!("call-{number}")).with_expires_at(SystemClock.now() + Duration::from_secs(3600)))
    }

    fn needs_lease(&self) -> bool {
        true
    }
}

#[test]
fn single_use_credential_is_not_sent_again_after_a_timeout_of_a_blocking_call() {
    let (provider, cache) = (Arc::new(SlowProvider::default()), Arc::new(MemoryTokenCache::new()));
    let source = blocking::TokenSource::builder(key(), provider.clone())
        .with_cache(cache.clone())
        .with_attempt_timeout(Duration::from_millis(20))
        .build()
        .unwrap();
    for _ in 0..3 {
        assert!(source.token().unwrap_err().is_timeout(), "each caller waits for a limited time");
    }
    assert_eq!(*provider.calls.lock().unwrap(), 1, "the credential is not sent again");
    provider.open();
    let token = std::iter::repeat_with(|| source.token()).find_map(Result::ok).unwrap();
    assert_eq!(text_of(&token), "call-1", "the late response is used");
    assert_eq!(TokenCache::get(&*cache, source.key()).unwrap().as_ref().map(text_of), Some("call-1".to_owned()));
    assert_eq!(*provider.calls.lock().unwrap(), 1);
}

#[test]
fn dropped_source_waits_for_the_response_to_a_timed_out_call() {
    let (provider, cache) = (Arc::new(SlowProvider::default()), Arc::new(MemoryTokenCache::new()));
    let source = blocking::TokenSource::builder(key(), provider.clone()).with_cache(cache.clone());
    let source = source.with_attempt_timeout(Duration::from_millis(20)).build().unwrap();
    let key = source.key().clone();
    assert!(source.token().unwrap_err().is_timeout());
    let drop_thread = std::thread::spawn(move || drop(source));
    provider.open();
    drop_thread.join().unwrap();
    assert_eq!(TokenCache::get(&*cache, &key).unwrap().as_ref().map(text_of), Some("call-1".to_owned()));
}

fn runtime(is_paused: bool) -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(is_paused).build().unwrap()
}

/// Starts an attempt on a runtime that is not polled afterwards.
fn start_on_idle_runtime(fixture: &Fixture) -> Runtime {
    let idle_runtime = runtime(false);
    fixture.provider.hold();
    idle_runtime.block_on(async {
        fixture.source.prefetch(&TokenRequest::new());
        while fixture.calls() == 0 {
            tokio::task::yield_now().await;
        }
    });
    fixture.provider.release();
    idle_runtime
}

#[test]
fn caller_that_joins_an_attempt_on_an_idle_runtime_times_out() {
    let fixture = Fixture::with_builder(|builder, _| builder.with_attempt_timeout(Duration::from_secs(7)));
    let idle_runtime = start_on_idle_runtime(&fixture);
    runtime(true).block_on(async {
        let start = tokio::time::Instant::now();
        assert!(fixture.source.token().await.unwrap_err().is_timeout());
        assert!(start.elapsed() < Duration::from_secs(300), "{:?}", start.elapsed());
        assert_eq!(fixture.obtain_text().await, "token-2", "the next caller starts another attempt");
    });
    idle_runtime.block_on(fixture.run_until_idle());
    runtime(true)
        .block_on(async { assert_eq!(fixture.obtain_text().await, "token-2", "the late response changes nothing") });
}

/// A provider with a single-use credential that needs the caller's runtime.
#[derive(Debug)]
struct SingleUseProvider(Arc<ScriptedProvider>);

#[async_trait]
impl AsyncTokenProvider for SingleUseProvider {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        AsyncTokenProvider::fetch(&*self.0, request).await
    }

    fn needs_caller_runtime(&self) -> bool {
        true
    }

    fn needs_lease(&self) -> bool {
        true
    }
}

#[test]
fn single_use_credential_on_an_idle_runtime_is_not_sent_twice() {
    let mut fixture = Fixture::new();
    let builder =
        TokenSource::builder(key(), SingleUseProvider(fixture.provider.clone())).with_clock(fixture.clock.clone());
    fixture.source = builder.with_attempt_timeout(Duration::from_secs(7)).build().unwrap();
    let idle_runtime = start_on_idle_runtime(&fixture);
    runtime(true).block_on(async {
        for _ in 0..2 {
            assert!(fixture.source.token().await.unwrap_err().is_timeout());
        }
    });
    assert_eq!(fixture.calls(), 1);
    idle_runtime.block_on(fixture.run_until_idle());
    assert_eq!(runtime(true).block_on(fixture.obtain_text()), "token-1", "the late response is used");
}
