//! Tokens that the server or the authorization server does not accept any more.

use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{McpAuthorization, Principal};

use super::site::{Options, Site, User};
use super::{SYSTEM, call, list_error};
use crate::clock::ManualClock;
use crate::fake_server::list;

#[tokio::test(flavor = "multi_thread")]
async fn revoked_token_is_refreshed_within_the_session() {
    let site = Site::start(Options { has_sessions: true, ..Options::default() });
    let gateway = site.builder(McpAuthorization::new(User::new())).build();
    call(&gateway, &Principal::System).await.unwrap();
    site.revoke();
    let calls = (0..10).map(|_| call(&gateway, &SYSTEM));
    let results = futures_util::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(site.counts(), (1, 1, 1));
    let form = site.with(|state| state.forms.last().unwrap().clone());
    assert_eq!(form["resource"], site.mcp().to_string());
    assert!(!form.contains_key("scope"), "the refreshed token has the scopes of the login");
    let sessions = site.with(|state| state.methods.iter().filter(|method| *method == "initialize").count());
    assert_eq!(sessions, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_login_is_followed_by_one_login() {
    for without_refresh_tokens in [false, true] {
        let site = Site::start(Options { without_refresh_tokens, ..Options::default() });
        let gateway = site.builder(McpAuthorization::new(User::new())).build();
        call(&gateway, &Principal::System).await.unwrap();
        site.revoke();
        site.with(|state| state.refresh_tokens.clear());
        let calls = (0..10).map(|_| call(&gateway, &SYSTEM));
        let results = futures_util::future::join_all(calls).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(site.counts(), (2, usize::from(!without_refresh_tokens), 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_rejects_every_token_causes_one_refresh_and_one_login() {
    let site = Site::start(Options::default());
    let gateway = site.builder(McpAuthorization::new(User::new())).build();
    list(&gateway, &Principal::System).await;
    site.with(|state| state.options.rejects_everything = true);
    let error = list_error(&gateway).await;
    assert!(error.authorization_error().is_some_and(agent_gateway::AuthorizationError::is_rejected), "{error:?}");
    assert!(error.is_unauthorized() && error.to_string().contains("`orders`"), "{error}");
    assert_eq!(site.counts(), (2, 1, 1));
    // The user is not asked again soon.
    for _ in 0..3 {
        assert!(list_error(&gateway).await.is_unauthorized());
    }
    assert_eq!(site.counts(), (2, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn first_login_that_is_rejected_is_not_repeated() {
    let options = Options { rejects_everything: true, without_refresh_tokens: true, ..Options::default() };
    let site = Site::start(options);
    let clock = Arc::new(ManualClock::start());
    let gateway = site.builder(McpAuthorization::new(User::new())).with_clock(clock.clone()).build();
    for logins in [1, 1, 1, 2] {
        let error = list_error(&gateway).await;
        assert!(error.is_unauthorized(), "{error:?}");
        assert_eq!(site.counts(), (logins, 0, 1));
        clock.advance(Duration::from_secs(14));
    }
    // The server accepts tokens again, and the pause is over.
    site.with(|state| state.options.rejects_everything = false);
    clock.advance(Duration::from_secs(60));
    list(&gateway, &Principal::System).await;
    assert_eq!(site.counts(), (3, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_login_is_not_repeated_soon() {
    let site = Site::start(Options { denies_logins: true, ..Options::default() });
    let clock = Arc::new(ManualClock::start());
    let gateway = site.builder(McpAuthorization::new(User::new())).with_clock(clock.clone()).build();
    for logins in [1, 1, 1, 2] {
        let error = list_error(&gateway).await;
        let denied = error.authorization_error().and_then(agent_gateway::AuthorizationError::oauth_error);
        assert!(denied.is_some_and(auth_oauth::OAuthError::is_denied), "{error:?}");
        assert_eq!(site.counts(), (logins, 0, 1));
        clock.advance(Duration::from_secs(14));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_may_change_its_authorization_server() {
    let (site, other) = (Site::start(Options::default()), Site::start(Options::default()));
    let gateway = site.builder(McpAuthorization::new(User::new())).build();
    list(&gateway, &Principal::System).await;
    site.revoke();
    site.with(|state| {
        state.refresh_tokens.clear();
        state.options.without_refresh_tokens = true;
    });
    // Its old authorization server still issues tokens, which the server rejects.
    gateway.evict();
    list(&gateway, &Principal::System).await;
    site.with(|state| state.options.other_issuer = Some(other.issuer()));
    site.revoke();
    let error = list_error(&gateway).await;
    // The tokens of the other site are not those of this one.
    assert!(error.is_unauthorized(), "{error:?}");
    assert_eq!((other.counts().0, other.counts().2), (1, 1), "a login at the other one, with a client of its own");
    let sent = other.with(|state| state.authorizations[0]["client_id"].clone());
    assert_eq!(sent, "client-1");
}
