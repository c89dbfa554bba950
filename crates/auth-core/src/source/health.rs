use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::TokenError;

/// The availability of a cache. Failures are only counted and logged, because a source works without its cache.
#[derive(Debug, Default)]
pub(crate) struct CacheHealth {
    failures: AtomicU64,
    /// True if the last operation failed.
    is_unavailable: AtomicBool,
}

impl CacheHealth {
    /// Returns the value of a successful operation, or `None` for a failure. Counts failures, and logs the first of
    /// consecutive failures and the next success.
    pub(crate) fn observe<T>(&self, outcome: Result<T, TokenError>) -> Option<T> {
        let is_unavailable = outcome.is_err();
        let has_changed = self.is_unavailable.swap(is_unavailable, Ordering::Relaxed) != is_unavailable;
        match outcome {
            Ok(value) => {
                if has_changed {
                    tracing::warn!(failures = self.failures(), "the token cache is available again");
                }
                Some(value)
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if has_changed {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the token cache is unavailable: fetching tokens from the provider"
                    );
                }
                None
            }
        }
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}
