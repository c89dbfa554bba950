use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::TokenError;

/// The availability of a cache. A source continues without its cache, so that failures are only counted and logged.
#[derive(Debug, Default)]
pub(crate) struct CacheHealth {
    failures: AtomicU64,
    /// The last call failed.
    away: AtomicBool,
}

impl CacheHealth {
    /// Returns the value of a successful call, and `None` for a failure, which is counted. The first of consecutive
    /// failures and the recovery are logged.
    pub(crate) fn observe<T>(&self, outcome: Result<T, TokenError>) -> Option<T> {
        let away = outcome.is_err();
        let changed = self.away.swap(away, Ordering::Relaxed) != away;
        match outcome {
            Ok(value) => {
                if changed {
                    tracing::warn!(failures = self.failures(), "the token cache is available again");
                }
                Some(value)
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if changed {
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
