//! The token sources of all services in this process, so that a login or logout by one service takes effect in all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use auth_core::{TokenKey, TokenSource};

/// The token sources of all services that exist.
static ALL_SOURCES: Mutex<Vec<Weak<Sources>>> = Mutex::new(Vec::new());

/// The token sources of a service and its clones, one for each minimum remaining lifetime. They exist as long as the
/// service. Therefore only the drop of the last clone of the service waits for a refresh, and not the drop of a client.
#[derive(Debug)]
pub(super) struct Sources {
    /// The folder of the token store.
    folder: PathBuf,
    key: TokenKey,
    by_min_remaining: Mutex<HashMap<Duration, TokenSource>>,
}

impl Sources {
    /// Registers a service whose tokens are stored in `folder` under `key`.
    pub(super) fn register(folder: &Path, key: TokenKey) -> Arc<Self> {
        let sources = Arc::new(Self { folder: folder.to_owned(), key, by_min_remaining: Mutex::default() });
        let mut all = lock(&ALL_SOURCES);
        all.retain(|sources| sources.strong_count() > 0);
        all.push(Arc::downgrade(&sources));
        sources
    }

    /// Returns the token source for this minimum remaining lifetime. `create` is called if there is none.
    pub(super) fn get_or_create(&self, min_remaining: Duration, create: impl FnOnce() -> TokenSource) -> TokenSource {
        lock(&self.by_min_remaining).entry(min_remaining).or_insert_with(create).clone()
    }

    /// Makes all services in this process read the token in `folder` under `key` again with their next request.
    pub(super) fn invalidate(folder: &Path, key: &TokenKey) {
        let folder = canonical(folder);
        let all: Vec<_> = lock(&ALL_SOURCES).iter().filter_map(Weak::upgrade).collect();
        for sources in all.iter().filter(|sources| sources.key == *key && canonical(&sources.folder) == folder) {
            lock(&sources.by_min_remaining).values().for_each(TokenSource::invalidate);
        }
    }
}

/// Returns the canonical path of a folder, because two services may use different paths of the same folder.
fn canonical(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
