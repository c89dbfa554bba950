//! Time limits that do not include the time in which their user logs in.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use auth_core::TokenRequest;
use futures_util::future::{Either, select};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::watch;
use url::Url;

use super::who::Who;

/// The maximum number of servers and principals whose logins are known.
const MAX_KEYS: u64 = 16_384;

/// The number of logins in progress, for each server and principal: a login of one user does not affect the others.
#[derive(Clone, Debug)]
pub(crate) struct Logins(Cache<(Url, Who), Arc<watch::Sender<usize>>>);

/// A login in progress, which ends on drop.
pub(super) struct Login(Arc<watch::Sender<usize>>);

impl Logins {
    pub(crate) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX_KEYS).eviction_policy(EvictionPolicy::lru()).build())
    }

    /// Returns the logins of a principal for a server.
    pub(super) fn sender(&self, server: &Url, principal: &TokenRequest) -> Arc<watch::Sender<usize>> {
        self.0.get_with((server.clone(), Who::of(principal)), || Arc::new(watch::channel(0).0))
    }

    /// Returns a receiver of the number of logins of a principal for a server.
    pub(crate) fn of(&self, server: &Url, principal: &TokenRequest) -> watch::Receiver<usize> {
        self.sender(server, principal).subscribe()
    }

    /// Waits until the principal does not log in to a server.
    pub(crate) async fn ended(&self, server: &Url, principal: &TokenRequest) {
        // The sender outlives the call.
        let _ = self.of(server, principal).wait_for(|number| *number == 0).await;
    }
}

impl Login {
    pub(super) fn begin(logins: &Arc<watch::Sender<usize>>) -> Self {
        logins.send_modify(|number| *number += 1);
        Self(logins.clone())
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.0.send_modify(|number| *number -= 1);
    }
}

/// Runs `work` unless a user logs in. Returns `None` if one does; the login continues.
pub(crate) async fn unless_login<T>(mut logins: watch::Receiver<usize>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let begun = pin!(async { logins.wait_for(|number| *number > 0).await.is_ok() });
    match select(work.as_mut(), begun).await {
        Either::Left((output, _)) => Some(output),
        Either::Right((true, _)) => None,
        // No login is possible any more.
        Either::Right((false, _)) => Some(work.await),
    }
}

/// Runs `work` for at most `limit` without a login. Returns `None` if it did not complete. A login suspends the limit, and
/// it starts anew when the login has ended.
pub(crate) async fn within<T>(
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
        // The sender outlives the work, or no login is possible any more.
        if !is_waiting && !logins.has_changed().unwrap_or(false) {
            return None;
        }
        let ended = pin!(async { logins.wait_for(|number| *number == 0).await.is_ok() });
        if let Either::Left((output, _)) = select(work.as_mut(), ended).await {
            return Some(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Returns a future that takes this time.
    async fn taking(seconds: u64) -> u64 {
        let never = std::future::pending::<()>();
        let _ = tokio::time::timeout(Duration::from_secs(seconds), never).await;
        seconds
    }

    #[tokio::test(start_paused = true)]
    async fn limit_does_not_include_a_login() {
        let logins = Logins::new();
        let server: Url = "https://mcp.test/".parse().unwrap();
        let system = TokenRequest::new();
        assert_eq!(within(LIMIT, logins.of(&server, &system), taking(9)).await, Some(9));
        assert_eq!(within(LIMIT, logins.of(&server, &system), taking(11)).await, None);
        let sender = logins.sender(&server, &system);
        let work = async {
            taking(3).await;
            let login = Login::begin(&sender);
            taking(300).await;
            drop(login);
            taking(8).await
        };
        assert_eq!(within(LIMIT, logins.of(&server, &system), work).await, Some(8));
        let short = async {
            drop(Login::begin(&sender));
            taking(19).await
        };
        assert_eq!(within(LIMIT, logins.of(&server, &system), short).await, Some(19), "a login restarts the limit");
        let other = logins.of(&"https://other.test/".parse().unwrap(), &system);
        let login = Login::begin(&sender);
        assert_eq!(within(LIMIT, other, taking(11)).await, None, "a login for another server does not");
        let other = logins.of(&server, &TokenRequest::new().with_tenant("a"));
        assert_eq!(within(LIMIT, other, taking(11)).await, None, "a login of another principal does not");
        drop(login);
    }
}
