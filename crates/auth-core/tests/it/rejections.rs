//! Rejections while the store does not respond.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, Clock, LeaseOutcome, RefreshLease, Secret, TokenError, TokenKey, TokenRequest,
};
use futures_util::FutureExt;
use platform_testkit::{Answer, RemoteStore};
use tokio::sync::watch;

use super::{Bench, key, text, token};

const HOUR: Duration = Duration::from_secs(3600);

/// A store that deletes rejected tokens after it is opened, and can delay its second read.
#[derive(Clone, Debug)]
struct Stuck {
    store: RemoteStore,
    open: watch::Sender<bool>,
    deletions: watch::Sender<usize>,
    reads: watch::Sender<usize>,
    second_read: watch::Sender<Read>,
}

/// The stage of a delayed read.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Read {
    Waiting,
    Allowed,
    Done,
    Answered,
}

impl Stuck {
    fn new() -> Self {
        Self {
            store: RemoteStore::new(),
            open: watch::Sender::new(false),
            deletions: watch::Sender::new(0),
            reads: watch::Sender::new(0),
            second_read: watch::Sender::new(Read::Answered),
        }
    }

    async fn second_read(&self, stage: Read) {
        self.second_read.subscribe().wait_for(|reached| *reached >= stage).await.unwrap();
    }

    fn bench(&self) -> Bench {
        let (cache, lease) = (Arc::new(self.clone()), Arc::new(self.clone()));
        Bench::with(|builder, _| builder.with_cache(cache).with_lease(lease).with_local_copy(Duration::ZERO))
    }
}

#[async_trait]
impl AsyncTokenCache for Stuck {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.reads.send_modify(|number| *number += 1);
        if *self.reads.borrow() != 2 {
            return self.store.get(key).await;
        }
        self.second_read(Read::Allowed).await;
        let found = self.store.get(key).await;
        self.second_read.send_if_modified(|stage| {
            let advances = *stage == Read::Allowed;
            *stage = if advances { Read::Done } else { *stage };
            advances
        });
        self.second_read(Read::Answered).await;
        found
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        self.store.set(key, token).await
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.store.delete(key).await
    }

    async fn clear(&self) -> Result<(), TokenError> {
        self.store.clear().await
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        self.deletions.send_modify(|number| *number += 1);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.map_err(TokenError::cache)?;
        self.store.delete_if(key, rejected).await
    }
}

#[async_trait]
impl RefreshLease for Stuck {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        self.store.acquire(key, previous).await
    }
}

#[tokio::test]
async fn rejected_token_is_replaced_while_the_store_still_has_it() {
    let stuck = Stuck::new();
    let bench = stuck.bench();
    let login = token("first").with_refresh_token(Secret::new("refresh")).with_expires_at(bench.clock.now() + HOUR);
    bench.provider.then([Answer::Token(login)]);
    let first = bench.source.token().await.unwrap();
    bench.source.reject(&TokenRequest::new(), &first);
    let mut next = Box::pin(bench.source.token());
    while bench.calls() < 2 {
        // It never returns the token that the store still has.
        assert!(next.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let previous = bench.provider.calls().remove(1).previous.unwrap();
    assert_eq!(previous.refresh_token().unwrap().expose(), "refresh", "its refresh token is redeemed");
    stuck.open.send_replace(true);
    assert_eq!(text(&next.await.unwrap()), "token-2");
    assert_eq!(stuck.store.peek(&key()).as_ref().map(text), Some("token-2".to_owned()));
}

#[tokio::test]
async fn rejections_of_one_token_lead_to_one_deletion() {
    let stuck = Stuck::new();
    let bench = stuck.bench();
    let first = bench.source.token().await.unwrap();
    for _ in 0..1000 {
        bench.source.reject(&TokenRequest::new(), &first);
    }
    bench.settle().await;
    assert_eq!(*stuck.deletions.borrow(), 1);
    stuck.open.send_replace(true);
    bench.settle().await;
    assert_eq!(stuck.store.peek(&key()), None);
    assert_eq!(bench.text().await, "token-2");
}

#[tokio::test]
async fn attempt_does_not_serve_a_rejected_token_after_a_clear() {
    let stuck = Stuck::new();
    stuck.open.send_replace(true);
    stuck.second_read.send_replace(Read::Waiting);
    let bench = stuck.bench();
    // The first read finds no token, and the attempt reads again.
    let first = tokio::spawn({
        let source = bench.source.clone();
        async move { source.token().await }
    });
    stuck.reads.subscribe().wait_for(|number| *number == 2).await.unwrap();
    let stored = token("rejected").with_expires_at(bench.clock.now() + HOUR);
    stuck.store.set(&key(), &stored).await.unwrap();
    stuck.second_read.send_replace(Read::Allowed);
    stuck.second_read(Read::Done).await;
    bench.reject(&stored).await;
    assert_eq!(stuck.store.peek(&key()), None);
    let mut joined = Box::pin(bench.source.token());
    while *stuck.reads.borrow() < 3 {
        assert!(joined.as_mut().now_or_never().is_none());
    }
    for _ in 0..3 {
        bench.settle().await;
        assert!(joined.as_mut().now_or_never().is_none(), "it waits for the attempt");
    }
    bench.source.clear().await.unwrap();
    stuck.second_read.send_replace(Read::Answered);
    assert_eq!(text(&joined.await.unwrap()), "token-1");
    assert_eq!(text(&first.await.unwrap().unwrap()), "token-1");
}

#[tokio::test]
async fn caller_that_wakes_after_the_rejection_gets_another_token() {
    let bench = Bench::new();
    let mut late = Box::pin(bench.source.token());
    assert!(late.as_mut().now_or_never().is_none());
    let first = bench.source.token().await.unwrap();
    assert_eq!(text(&first), "token-1");
    bench.reject(&first).await;
    assert_eq!(text(&late.await.unwrap()), "token-2");
    assert_eq!(bench.calls(), 2);
}

/// The background thread deletes the token, unless the provider needs another.
#[test]
fn rejection_needs_no_runtime_and_no_store() {
    let stuck = Stuck::new();
    let provider = auth_core::async_provider_fn(|_| async { Ok::<_, TokenError>("a-token") });
    let builder = auth_core::TokenSource::builder(key(), provider).with_cache(Arc::new(stuck.clone()));
    let source = builder.with_local_copy(Duration::ZERO).build().unwrap();
    let blocking = auth_core::blocking::TokenSource::from(source.clone());
    let first = blocking.token().unwrap();
    blocking.reject(&TokenRequest::new(), &first);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(stuck.deletions.subscribe().wait_for(|number| *number == 1)).unwrap();
    assert!(stuck.store.peek(&key()).is_some(), "the deletion still waits");
    stuck.open.send_replace(true);
    // Closing waits for the deletion.
    runtime.block_on(source.close()).unwrap();
    drop(blocking);
}

/// Nothing is lost, so closing waits only briefly.
#[test]
fn closed_source_does_not_wait_for_a_store_that_deletes() {
    let stuck = Stuck::new();
    let provider = auth_core::async_provider_fn(|_| async { Ok::<_, TokenError>("a-token") });
    let builder = auth_core::TokenSource::builder(key(), provider).with_cache(Arc::new(stuck.clone()));
    let source = builder.with_local_copy(Duration::ZERO).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first = runtime.block_on(source.token()).unwrap();
    source.reject(&TokenRequest::new(), &first);
    let closing = tokio::time::Instant::now();
    runtime.block_on(source.close()).unwrap();
    assert!(closing.elapsed() < Duration::from_secs(20), "a redemption would get 30 s");
}
