//! Attempts that exceed their time limit, or never end.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Clock, MemoryTokenCache, SystemClock, TokenCache, TokenError, TokenProvider,
    TokenRequest, TokenSource, blocking,
};
use platform_testkit::ScriptedProvider;
use tokio::runtime::Runtime;

use super::{Bench, key, text, token};

/// A blocking provider with a single-use credential, which responds after it is opened.
#[derive(Debug, Default)]
struct Slow {
    calls: Mutex<usize>,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Slow {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl TokenProvider for Slow {
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
fn timed_out_blocking_call_is_the_only_one_with_its_credential() {
    let (provider, cache) = (Arc::new(Slow::default()), Arc::new(MemoryTokenCache::new()));
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
    assert_eq!(text(&token), "call-1", "the late answer is adopted");
    assert_eq!(TokenCache::get(&*cache, source.key()).unwrap().as_ref().map(text), Some("call-1".to_owned()));
    assert_eq!(*provider.calls.lock().unwrap(), 1);
}

#[test]
fn source_that_is_dropped_waits_for_a_late_answer() {
    let (provider, cache) = (Arc::new(Slow::default()), Arc::new(MemoryTokenCache::new()));
    let source = blocking::TokenSource::builder(key(), provider.clone()).with_cache(cache.clone());
    let source = source.with_attempt_timeout(Duration::from_millis(20)).build().unwrap();
    let key = source.key().clone();
    assert!(source.token().unwrap_err().is_timeout());
    let dropping = std::thread::spawn(move || drop(source));
    provider.open();
    dropping.join().unwrap();
    assert_eq!(TokenCache::get(&*cache, &key).unwrap().as_ref().map(text), Some("call-1".to_owned()));
}

fn runtime(is_paused: bool) -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(is_paused).build().unwrap()
}

/// Starts an attempt on a runtime that is idle afterwards.
fn frozen(bench: &Bench) -> Runtime {
    let idle = runtime(false);
    bench.provider.hold();
    idle.block_on(async {
        bench.source.prefetch(&TokenRequest::new());
        while bench.calls() == 0 {
            tokio::task::yield_now().await;
        }
    });
    bench.provider.release();
    idle
}

#[test]
fn joiner_waits_for_a_limited_time_on_an_idle_runtime() {
    let bench = Bench::with(|builder, _| builder.with_attempt_timeout(Duration::from_secs(7)));
    let idle = frozen(&bench);
    runtime(true).block_on(async {
        let begun = tokio::time::Instant::now();
        assert!(bench.source.token().await.unwrap_err().is_timeout());
        assert!(begun.elapsed() < Duration::from_secs(300), "{:?}", begun.elapsed());
        assert_eq!(bench.text().await, "token-2", "the next caller starts another attempt");
    });
    idle.block_on(bench.settle());
    runtime(true).block_on(async { assert_eq!(bench.text().await, "token-2", "the late one changes nothing") });
}

/// A provider with a single-use credential that needs the caller's runtime.
#[derive(Debug)]
struct SingleUse(Arc<ScriptedProvider>);

#[async_trait]
impl AsyncTokenProvider for SingleUse {
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
    let mut bench = Bench::new();
    let builder = TokenSource::builder(key(), SingleUse(bench.provider.clone())).with_clock(bench.clock.clone());
    bench.source = builder.with_attempt_timeout(Duration::from_secs(7)).build().unwrap();
    let idle = frozen(&bench);
    runtime(true).block_on(async {
        for _ in 0..2 {
            assert!(bench.source.token().await.unwrap_err().is_timeout());
        }
    });
    assert_eq!(bench.calls(), 1);
    idle.block_on(bench.settle());
    assert_eq!(runtime(true).block_on(bench.text()), "token-1", "its answer is used");
}
