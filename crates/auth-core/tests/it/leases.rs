//! What a leader renews, and what becomes of a login that is refused.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, Acquired, AsyncTokenCache, Clock, LeaseGuard, RefreshLease, Secret, TokenError, TokenKey,
};
use platform_testkit::{Answer, RemoteStore};

use super::{Bench, MINUTE, key, text, token};

/// A source over a cache and a lease that need not be of one mind.
fn bench(cache: &RemoteStore, lease: impl RefreshLease + 'static) -> Bench {
    let cache: Arc<dyn AsyncTokenCache> = Arc::new(cache.clone());
    Bench::with(|builder, _| builder.with_cache(cache).with_lease(Arc::new(lease)).with_local_copy(Duration::ZERO))
}

/// A session that has ended by the clock of a [`Bench`].
fn ended(bench: &Bench, number: u32) -> AccessToken {
    let refresh = Secret::new(format!("refresh-{number}"));
    token(&format!("ended-{number}")).with_refresh_token(refresh).with_expires_at(bench.clock.now() - MINUTE)
}

fn redeemed(bench: &Bench) -> Vec<Option<AccessToken>> {
    bench.provider.calls().into_iter().map(|call| call.previous).collect()
}

/// Lets everybody lead, and says that this was stored.
#[derive(Clone, Debug)]
struct Stored(Option<AccessToken>);

#[async_trait]
impl RefreshLease for Stored {
    async fn acquire(&self, _key: &TokenKey, _previous: Option<&AccessToken>) -> Result<Acquired, TokenError> {
        Ok(Acquired::Leading(Box::new(self.clone())))
    }
}

#[async_trait]
impl LeaseGuard for Stored {
    fn current(&self) -> Option<&AccessToken> {
        self.0.as_ref()
    }

    async fn publish(self: Box<Self>, _token: &AccessToken) -> Result<(), TokenError> {
        Ok(())
    }

    async fn give_up(self: Box<Self>) {}
}

#[tokio::test]
async fn the_leader_redeems_what_is_stored_when_it_leads_and_not_what_it_knew() {
    let cache = RemoteStore::new();
    let clock = Bench::new();
    let (known, rotated) = (ended(&clock, 1), ended(&clock, 2));
    for (stored, expected) in [(Some(rotated.clone()), &rotated), (None, &known)] {
        let bench = bench(&cache, Stored(stored));
        cache.set(&key(), &known).await.unwrap();
        assert_eq!(bench.text().await, "token-1");
        assert_eq!(redeemed(&bench), [Some(expected.clone())]);
    }
}

#[tokio::test]
async fn what_is_offered_and_has_ended_is_what_is_replaced_under_the_lease() {
    let (cache, store) = (RemoteStore::new(), RemoteStore::new());
    let bench = bench(&cache, store.clone());
    let (known, rotated) = (ended(&bench, 1), ended(&bench, 2));
    cache.set(&key(), &known).await.unwrap();
    store.set(&key(), &rotated).await.unwrap();
    assert_eq!(bench.text().await, "token-1");
    assert_eq!(redeemed(&bench), [Some(rotated)]);
    assert_eq!(store.peek(&key()).as_ref().map(text), Some("token-1".to_owned()), "it was published, so it led");
}

#[tokio::test]
async fn a_login_that_is_refused_is_forgotten_for_all_and_only_then() {
    let failures = [(TokenError::refused("invalid_grant"), false), (TokenError::provider("no connection"), true)];
    for (failure, stays) in failures {
        let store = RemoteStore::new();
        let bench = bench(&store, store.clone());
        let session = ended(&bench, 1);
        store.set(&key(), &session).await.unwrap();
        bench.provider.then([Answer::Failure(failure)]);
        bench.source.token().await.unwrap_err();
        assert_eq!(store.peek(&key()), stays.then_some(session));
    }
}

#[tokio::test]
async fn a_refusal_does_not_forget_what_was_stored_meanwhile() {
    let store = RemoteStore::new();
    let bench = bench(&store, store.clone());
    let newer = ended(&bench, 2);
    store.set(&key(), &ended(&bench, 1)).await.unwrap();
    bench.provider.then([Answer::Failure(TokenError::refused("invalid_grant"))]);
    bench.provider.hold();
    let source = bench.source.clone();
    let waiting = tokio::spawn(async move { source.token().await });
    bench.settle().await;
    store.set(&key(), &newer).await.unwrap();
    bench.provider.release();
    assert!(waiting.await.unwrap().unwrap_err().is_refused());
    assert_eq!(store.peek(&key()), Some(newer));
}

#[tokio::test]
async fn a_refusal_lets_another_process_lead_whether_or_not_there_was_a_login() {
    for session in [None, Some(token("rejected"))] {
        let store = RemoteStore::new();
        let [first, second] = [(); 2].map(|()| bench(&store, store.clone()));
        if let Some(session) = session {
            store.set(&key(), &session.with_expires_at(first.clock.now() - MINUTE)).await.unwrap();
        }
        first.provider.then([Answer::Failure(TokenError::refused("invalid_grant"))]);
        assert!(first.source.token().await.unwrap_err().is_refused());
        assert_eq!(second.text().await, "token-1");
    }
}

#[tokio::test]
async fn a_guard_that_only_publishes_and_gives_up_discards_by_giving_up() {
    #[derive(Debug)]
    struct Least(Arc<()>);

    #[async_trait]
    impl LeaseGuard for Least {
        async fn publish(self: Box<Self>, _token: &AccessToken) -> Result<(), TokenError> {
            Ok(())
        }

        async fn give_up(self: Box<Self>) {
            Arc::into_inner(self.0);
        }
    }

    let lease = Arc::new(());
    let guard: Box<dyn LeaseGuard> = Box::new(Least(lease.clone()));
    assert_eq!(guard.current(), None);
    guard.discard(&token("refused")).await;
    assert_eq!(Arc::strong_count(&lease), 1);
}
