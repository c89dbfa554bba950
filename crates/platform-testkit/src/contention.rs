//! Conformance tests for caches under concurrent access. Each test repeats many schedules.
#![expect(clippy::expect_used, reason = "a conformance test panics if a rule is violated")]

use std::sync::Barrier;

use auth_core::{AsyncTokenCache, TokenCache};
use futures_util::future::join;
use tokio::task::yield_now;

use crate::conformance::{get, key, set, token};

/// The number of schedules of the concurrent operations.
const ROUNDS: usize = 128;

/// The number of threads that reject the same token.
const REJECTIONS: usize = 4;

/// The maximum number of yields by which one operation starts later than the other.
const MAX_YIELDS: usize = 8;

const RULE: &str =
    "delete_if compares and deletes in one step, and does not delete a newer token that is set concurrently";

/// Checks with several threads that [`delete_if`](TokenCache::delete_if) never deletes a newer token.
///
/// A cache that does not override `delete_if` fails in some of the schedules.
///
/// # Panics
///
/// If the cache is defective. The message states the violated rule.
pub fn atomic_delete_if(cache: &dyn TokenCache) {
    let (key, old, new) = (key("contention"), token("contention-1"), token("contention-2"));
    for _ in 0..ROUNDS {
        cache.set(&key, &old).expect("a token can be set");
        let start = Barrier::new(REJECTIONS + 1);
        std::thread::scope(|scope| {
            for _ in 0..REJECTIONS {
                scope.spawn(|| {
                    start.wait();
                    cache.delete_if(&key, &old).expect("delete_if succeeds")
                });
            }
            start.wait();
            cache.set(&key, &new).expect("a token can be set");
        });
        let stored_token = cache.get(&key).expect("get succeeds");
        assert!(stored_token.is_some_and(|token| token == new), "{RULE}");
    }
    cache.delete(&key).expect("a token can be deleted");
}

/// Checks that [`delete_if`](AsyncTokenCache::delete_if) never deletes a newer token. `first` and `second` represent
/// two processes that share a store.
///
/// A cache that does not override `delete_if` fails if one of its methods yields at least once.
///
/// # Panics
///
/// If the cache is defective. The message states the violated rule.
pub async fn async_atomic_delete_if(first: &dyn AsyncTokenCache, second: &dyn AsyncTokenCache) {
    let (key, old, new) = (key("contention"), token("contention-1"), token("contention-2"));
    for round in 0..ROUNDS {
        set(first, &key, &old).await;
        let storing = async {
            yield_by_round(round).await;
            set(first, &key, &new).await;
        };
        let rejecting = async {
            yield_by_round(round / MAX_YIELDS).await;
            second.delete_if(&key, &old).await.expect("delete_if succeeds")
        };
        join(storing, rejecting).await;
        assert!(get(first, &key).await.is_some_and(|token| token == new), "{RULE}");
    }
    first.delete(&key).await.expect("a token can be deleted");
}

/// Yields 0 to 7 times, depending on the round.
pub(crate) async fn yield_by_round(round: usize) {
    for _ in 0..round % MAX_YIELDS {
        yield_now().await;
    }
}
