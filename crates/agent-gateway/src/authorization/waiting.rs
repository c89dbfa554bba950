//! Time limits that exclude the time in which a user logs in.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use auth_core::TokenRequest;
use futures_util::future::{Either, select};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::watch;
use url::Url;

use super::who::PrincipalKey;

/// The maximum number of servers and principals whose logins are known.
const MAX_KEYS: u64 = 16_384;

/// The numbers of logins in progress, for each server and principal: a login of one user does not affect the time
/// limits of others.
#[derive(Clone, Debug)]
pub(crate) struct LoginCounters(Cache<(Url, PrincipalKey), Arc<watch::Sender<usize>>>);

/// A login in progress, which ends on drop.
pub(super) struct ActiveLogin(Arc<watch::Sender<usize>>);

impl LoginCounters {
    pub(crate) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX_KEYS).eviction_policy(EvictionPolicy::lru()).build())
    }

    /// Returns the counter of the logins of a principal for a server.
    pub(super) fn counter(&self, server: &Url, principal: &TokenRequest) -> Arc<watch::Sender<usize>> {
        self.0.get_with((server.clone(), PrincipalKey::from_request(principal)), || Arc::new(watch::channel(0).0))
    }

    /// Returns a receiver of the number of logins of a principal for a server.
    pub(crate) fn watch(&self, server: &Url, principal: &TokenRequest) -> watch::Receiver<usize> {
        self.counter(server, principal).subscribe()
    }

    /// Waits until no login of the principal to a server is in progress.
    pub(crate) async fn wait_until_none(&self, server: &Url, principal: &TokenRequest) {
        // `self` keeps the counter open, so waiting cannot fail.
        let _ = self.watch(server, principal).wait_for(|number| *number == 0).await;
    }
}

impl ActiveLogin {
    pub(super) fn start(counter: &Arc<watch::Sender<usize>>) -> Self {
        counter.send_modify(|number| *number += 1);
        Self(counter.clone())
    }
}

impl Drop for ActiveLogin {
    fn drop(&mut self) {
        self.0.send_modify(|number| *number -= 1);
    }
}

/// Runs `work` until a login starts. Returns `None` if a login starts first; the login continues.
pub(crate) async fn run_until_login<T>(mut logins: watch::Receiver<usize>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let login_started = pin!(async { logins.wait_for(|number| *number > 0).await.is_ok() });
    match select(work.as_mut(), login_started).await {
        Either::Left((output, _)) => Some(output),
        Either::Right((true, _)) => None,
        // The counter is closed, so no login can start.
        Either::Right((false, _)) => Some(work.await),
    }
}

/// Runs `work` for at most `limit`. Returns `None` if it did not complete in time. A login suspends the limit; after
/// the login, the limit starts again.
pub(crate) async fn timeout_without_logins<T>(
    limit: Duration,
    mut logins: watch::Receiver<usize>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        logins.mark_unchanged();
        if let Ok(output) = tokio::time::timeout(limit, work.as_mut()).await {
            return Some(output);
        }
        let is_waiting = *logins.borrow() > 0;
        // If the counter is closed, no login can start.
        if !is_waiting && !logins.has_changed().unwrap_or(false) {
            return None;
        }
        let logins_ended = pin!(async { logins.wait_for(|number| *number == 0).await.is_ok() });
        if let Either::Left((output, _)) = select(work.as_mut(), logins_ended).await {
            return Some(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Returns a future that takes this time.
    async fn take_seconds(seconds: u64) -> u64 {
        let never = std::future::pending::<()>();
        let _ = tokio::time::timeout(Duration::from_secs(seconds), never).await;
        seconds
    }

    #[tokio::test(start_paused = true)]
    async fn limit_does_not_include_a_login() {
        let logins = LoginCounters::new();
        let server: Url = "https://mcp.test/".parse().unwrap();
        let system = TokenRequest::new();
        assert_eq!(timeout_without_logins(LIMIT, logins.watch(&server, &system), take_seconds(9)).await, Some(9));
        assert_eq!(timeout_without_logins(LIMIT, logins.watch(&server, &system), take_seconds(11)).await, None);
        let counter = logins.counter(&server, &system);
        let work = async {
            take_seconds(3).await;
            let login = ActiveLogin::start(&counter);
            take_seconds(300).await;
            drop(login);
            take_seconds(8).await
        };
        assert_eq!(timeout_without_logins(LIMIT, logins.watch(&server, &system), work).await, Some(8));
        let work_with_short_login = async {
            drop(ActiveLogin::start(&counter));
            take_seconds(19).await
        };
        assert_eq!(
            timeout_without_logins(LIMIT, logins.watch(&server, &system), work_with_short_login).await,
            Some(19),
            "a login restarts the limit"
        );
        let other = logins.watch(&"https://other.test/".parse().unwrap(), &system);
        let login = ActiveLogin::start(&counter);
        assert_eq!(
            timeout_without_logins(LIMIT, other, take_seconds(11)).await,
            None,
            "a login for another server does not"
        );
        let other = logins.watch(&server, &TokenRequest::new().with_tenant("a"));
        assert_eq!(
            timeout_without_logins(LIMIT, other, take_seconds(11)).await,
            None,
            "a login of another principal does not"
        );
        drop(login);
    }
}
