//! Tests that the suite detects caches whose `delete_if` is not atomic.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex};

use auth_core::{AccessToken, MemoryTokenCache, TokenCache, TokenError, TokenKey};
use platform_testkit::{RemoteStore, async_atomic_delete_if, atomic_delete_if};

use super::panic_message;

/// A cache in which a newer token is always stored between the two steps of `delete_if`.
#[derive(Debug, Default)]
struct TwoStepDeleteCache {
    /// The tokens, and the number of calls of `set`.
    tokens: Mutex<(HashMap<TokenKey, AccessToken>, usize)>,
    stored: Condvar,
}

impl TokenCache for TwoStepDeleteCache {
    fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        Ok(self.tokens.lock().unwrap().0.get(key).cloned())
    }

    fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let mut tokens = self.tokens.lock().unwrap();
        tokens.0.insert(key.clone(), token.clone());
        tokens.1 += 1;
        self.stored.notify_all();
        Ok(())
    }

    fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        self.tokens.lock().unwrap().0.remove(key);
        Ok(())
    }

    fn clear(&self) -> Result<(), TokenError> {
        self.tokens.lock().unwrap().0.clear();
        Ok(())
    }

    fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let tokens = self.tokens.lock().unwrap();
        let is_match = tokens.0.get(key).is_some_and(|stored_token| stored_token.is_same(rejected));
        if is_match {
            let previous_writes = tokens.1;
            drop(self.stored.wait_while(tokens, |tokens| tokens.1 == previous_writes).unwrap());
            self.delete(key)?;
        }
        Ok(is_match)
    }
}

#[tokio::test]
async fn atomic_caches_pass() {
    atomic_delete_if(&MemoryTokenCache::new());
    let memory = MemoryTokenCache::new();
    async_atomic_delete_if(&memory, &memory.clone()).await;
    let store = RemoteStore::atomic();
    async_atomic_delete_if(&store, &store.clone()).await;
}

#[test]
fn suite_detects_delete_if_in_two_steps() {
    let expected = "delete_if compares and deletes in one step";
    // Not every schedule reveals the defect. The suite runs enough schedules to reveal it.
    let message = panic_message(|| atomic_delete_if(&TwoStepDeleteCache::default()));
    assert!(message.contains(expected), "{message}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = RemoteStore::new();
    let message = panic_message(|| runtime.block_on(async_atomic_delete_if(&store, &store.clone())));
    assert!(message.contains(expected), "{message}");
}
