//! A token source that refreshes the tokens of a login.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{Clock, SystemClock, TokenSource};
use auth_oauth::RefreshGrant;
use platform_testkit::ManualClock;
use tokio::task::JoinSet;

use crate::provider::{Provider, TOKEN};
use crate::user::User;

const LIFETIME: Duration = Duration::from_secs(4);
const CALLERS: usize = 50;

#[test]
fn refresh_redeems_once_for_all_callers() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    provider.set_token_lifetime(LIFETIME);
    let login = user.log_in(&provider.client("native").with_scopes(["openid", "offline_access"]));
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    // A verifier would object to a clock that is several token lifetimes ahead of the provider.
    let client = provider.trusting_client("native").with_clock(clock.clone());
    let grant = RefreshGrant::new(client.clone()).with_refresh_token(login.refresh_token().unwrap().clone());
    let source = TokenSource::builder(client.token_key().build(), grant).with_clock(clock.clone()).build().unwrap();

    let mut previous = login;
    let earlier_requests = provider.requests(TOKEN);
    // The provider ends a login if a refresh token is redeemed twice. Each round therefore needs the token of the
    // previous round.
    for round in 1..=4 {
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let source = source.clone();
            callers.spawn_on(async move { source.token().await }, user.browser.runtime.handle());
        }
        let tokens = user.browser.runtime.block_on(callers.join_all());
        assert_eq!(tokens.len(), CALLERS);
        let token = tokens[0].as_ref().unwrap();
        assert!(tokens.iter().all(|other| other.as_ref().unwrap().is_same(token)), "{tokens:?}");
        assert!(!token.is_same(&previous) && token.expires_at() <= Some(clock.now() + LIFETIME), "{token:?}");
        assert_eq!(provider.requests(TOKEN), earlier_requests + round);
        previous = token.clone();
        clock.advance(LIFETIME);
    }
}
