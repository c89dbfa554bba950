//! Rejections of tokens while the store delays its responses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenCache, Clock, LeaseOutcome, RefreshLease, Secret, TokenError, TokenKey, TokenRequest,
};
use futures_util::FutureExt;
use platform_testkit::{RemoteStore, ScriptedResponse};
use tokio::sync::watch;

use super::{Fixture, key, text_of, token};

const HOUR: Duration = Duration::from_secs(3600);

/// A store that delays deletions of rejected tokens until `deletions_allowed` is true, and can delay its second read.
#[derive(Clone, Debug)]
struct DelayedStore {
    store: RemoteStore,
    deletions_allowed: watch::Sender<bool>,
    deletion_count: watch::Sender<usize>,
    read_count: watch::Sender<usize>,
    second_read_stage: watch::Sender<ReadStage>,
}

/// The stage of the second read. The test sets `Allowed` and `Returned`, and the store sets `Accessed`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum ReadStage {
    /// The read has not started.
    Waiting,
    /// The read may access the store.
    Allowed,
    /// The read has accessed the store, and has not returned.
    Accessed,
    /// The read may return.
    Returned,
}

impl DelayedStore {
    fn new() -> Self {
        Self {
            store: RemoteStore::new(),
            deletions_allowed: watch::Sender::new(false),
            deletion_count: watch::Sender::new(0),
            read_count: watch::Sender::new(0),
            second_read_stage: watch::Sender::new(ReadStage::Returned),
        }
    }

    /// Waits until the second read has reached `stage`.
    async fn wait_for_second_read(&self, stage: ReadStage) {
        self.second_read_stage.subscribe().wait_for(|current_stage| *current_stage >= stage).await.unwrap();
    }

    fn fixture(&self) -> Fixture {
        let (cache, lease) = (Arc::new(self.clone()), Arc::new(self.clone()));
        Fixture::with_builder(|builder, _| builder.with_cache(cache).with_lease(lease).with_local_copy(Duration::ZERO))
    }
}

#[async_trait]
impl AsyncTokenCache for DelayedStore {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        self.read_count.send_modify(|number| *number += 1);
        if *self.read_count.borrow() != 2 {
            return self.store.get(key).await;
        }
        self.wait_for_second_read(ReadStage::Allowed).await;
        let cached = self.store.get(key).await;
        self.second_read_stage.send_if_modified(|stage| {
            let advances = *stage == ReadStage::Allowed;
            *stage = if advances { ReadStage::Accessed } else { *stage };
            advances
        });
        self.wait_for_second_read(ReadStage::Returned).await;
        cached
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
        self.deletion_count.send_modify(|number| *number += 1);
        let mut deletions_allowed = self.deletions_allowed.subscribe();
        deletions_allowed.wait_for(|is_allowed| *is_allowed).await.map_err(TokenError::cache)?;
        self.store.delete_if(key, rejected).await
    }
}

#[async_trait]
impl RefreshLease for DelayedStore {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<LeaseOutcome, TokenError> {
        self.store.acquire(key, previous).await
    }
}

#[tokio::test]
async fn rejected_token_is_replaced_before_the_store_deletes_it() {
    let delayed = DelayedStore::new();
    let fixture = delayed.fixture();
    let login = token("first").with_refresh_token(Secret::new("refresh")).with_expires_at(fixture.clock.now() + HOUR);
    fixture.provider.then([ScriptedResponse::Token(login)]);
    let first = fixture.source.token().await.unwrap();
    fixture.source.reject(&TokenRequest::new(), &first);
    let mut next_call = Box::pin(fixture.source.token());
    while fixture.calls() < 2 {
        // The call never returns the rejected token, which is still in the store.
        assert!(next_call.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    let previous = fixture.provider.calls().remove(1).previous.unwrap();
    assert_eq!(previous.refresh_token().unwrap().expose(), "refresh", "its refresh token is redeemed");
    delayed.deletions_allowed.send_replace(true);
    assert_eq!(text_of(&next_call.await.unwrap()), "token-2");
    assert_eq!(delayed.store.peek(&key()).as_ref().map(text_of), Some("token-2".to_owned()));
}

#[tokio::test]
async fn rejections_of_one_token_lead_to_one_deletion() {
    let delayed = DelayedStore::new();
    let fixture = delayed.fixture();
    let first = fixture.source.token().await.unwrap();
    for _ in 0..1000 {
        fixture.source.reject(&TokenRequest::new(), &first);
    }
    fixture.run_until_idle().await;
    assert_eq!(*delayed.deletion_count.borrow(), 1);
    delayed.deletions_allowed.send_replace(true);
    fixture.run_until_idle().await;
    assert_eq!(delayed.store.peek(&key()), None);
    assert_eq!(fixture.obtain_text().await, "token-2");
}

#[tokio::test]
async fn rejected_token_that_an_attempt_has_read_is_not_served_after_a_clear() {
    let delayed = DelayedStore::new();
    delayed.deletions_allowed.send_replace(true);
    delayed.second_read_stage.send_replace(ReadStage::Waiting);
    let fixture = delayed.fixture();
    // The first read finds no token, and the attempt reads again.
    let first = tokio::spawn({
        let source = fixture.source.clone();
        async move { source.token().await }
    });
    delayed.read_count.subscribe().wait_for(|number| *number == 2).await.unwrap();
    let stored_token = token("rejected").with_expires_at(fixture.clock.now() + HOUR);
    delayed.store.set(&key(), &stored_token).await.unwrap();
    delayed.second_read_stage.send_replace(ReadStage::Allowed);
    delayed.wait_for_second_read(ReadStage::Accessed).await;
    fixture.reject(&stored_token).await;
    assert_eq!(delayed.store.peek(&key()), None);
    let mut joined_call = Box::pin(fixture.source.token());
    while *delayed.read_count.borrow() < 3 {
        assert!(joined_call.as_mut().now_or_never().is_none());
    }
    for _ in 0..3 {
        fixture.run_until_idle().await;
        assert!(joined_call.as_mut().now_or_never().is_none(), "the call waits for the attempt");
    }
    fixture.source.clear().await.unwrap();
    delayed.second_read_stage.send_replace(ReadStage::Returned);
    assert_eq!(text_of(&joined_call.await.unwrap()), "token-1");
    assert_eq!(text_of(&first.await.unwrap().unwrap()), "token-1");
}

#[tokio::test]
async fn caller_that_is_polled_after_the_rejection_gets_another_token() {
    let fixture = Fixture::new();
    let mut late_call = Box::pin(fixture.source.token());
    assert!(late_call.as_mut().now_or_never().is_none());
    let first = fixture.source.token().await.unwrap();
    assert_eq!(text_of(&first), "token-1");
    fixture.reject(&first).await;
    assert_eq!(text_of(&late_call.await.unwrap()), "token-2");
    assert_eq!(fixture.calls(), 2);
}

#[test]
fn token_is_deleted_on_the_background_thread_without_a_runtime() {
    let delayed = DelayedStore::new();
    let provider = auth_core::async_provider_fn(|_| async { Ok::<_, TokenError>("a-token") });
    let builder = auth_core::TokenSource::builder(key(), provider).with_cache(Arc::new(delayed.clone()));
    let source = builder.with_local_copy(Duration::ZERO).build().unwrap();
    let blocking = auth_core::blocking::TokenSource::from(source.clone());
    let first = blocking.token().unwrap();
    blocking.reject(&TokenRequest::new(), &first);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(delayed.deletion_count.subscribe().wait_for(|number| *number == 1)).unwrap();
    assert!(delayed.store.peek(&key()).is_some(), "the deletion still waits");
    delayed.deletions_allowed.send_replace(true);
    // The deletion can end now, and closing waits for it.
    runtime.block_on(source.close()).unwrap();
    drop(blocking);
}

/// Interrupting a deletion loses no login, so closing the source waits only briefly for it.
#[test]
fn closing_does_not_wait_long_for_a_deletion() {
    let delayed = DelayedStore::new();
    let provider = auth_core::async_provider_fn(|_| async { Ok::<_, TokenError>("a-token") });
    let builder = auth_core::TokenSource::builder(key(), provider).with_cache(Arc::new(delayed.clone()));
    let source = builder.with_local_copy(Duration::ZERO).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first = runtime.block_on(source.token()).unwrap();
    source.reject(&TokenRequest::new(), &first);
    let start = tokio::time::Instant::now();
    runtime.block_on(source.close()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "closing waits 30 s for redemptions only");
}
