//! Scopes that a server requires in addition.

use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{AuthorizationError, McpAuthorization, Principal};

use super::site::{Options, Site, User};
use super::{SYSTEM, call};
use crate::clock::ManualClock;

fn requested(site: &Site) -> Vec<String> {
    site.with(|state| state.authorizations.iter().map(|form| form["scope"].clone()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn call_with_insufficient_scope_requests_the_union_once() {
    let site = Site::start(Options { call_scopes: vec!["write", "delete"], ..Options::default() });
    let gateway = site.builder(McpAuthorization::new(User::new())).build();
    let calls = (0..10).map(|_| call(&gateway, &SYSTEM));
    let results = futures_util::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(requested(&site), ["read", "delete read write"]);
    call(&gateway, &Principal::System).await.unwrap();
    assert_eq!(requested(&site).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_requires_more_and_more_scopes_is_an_error() {
    let site = Site::start(Options { requires_more_and_more: true, ..Options::default() });
    let clock = Arc::new(ManualClock::start());
    let gateway = site.builder(McpAuthorization::new(User::new())).with_clock(clock.clone()).build();
    let error = call(&gateway, &Principal::System).await.unwrap_err();
    let missing = error.authorization_error().and_then(AuthorizationError::missing_scopes);
    assert_eq!(missing.unwrap(), ["more-1"], "{error:?}");
    assert_eq!(requested(&site), ["read", "more-0 read"]);
    // Each call may ask the user once, but not without end.
    for _ in 0..20 {
        clock.advance(Duration::from_secs(301));
        assert!(call(&gateway, &Principal::System).await.is_err());
    }
    assert_eq!(requested(&site).len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_step_up_leaves_the_other_tools_usable() {
    let site = Site::start(Options { call_scopes: vec!["write"], ..Options::default() });
    let gateway = site.builder(McpAuthorization::new(User::new())).build();
    crate::fake_server::list(&gateway, &Principal::System).await;
    site.with(|state| state.options.denies_logins = true);
    let error = call(&gateway, &Principal::System).await.unwrap_err();
    let denied = error.authorization_error().and_then(AuthorizationError::oauth_error);
    assert!(denied.is_some_and(auth_oauth::OAuthError::is_denied), "{error:?}");
    gateway.evict();
    crate::fake_server::list(&gateway, &Principal::System).await;
    assert_eq!(requested(&site).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_without_a_user_are_an_error() {
    let site = Site::start(Options { call_scopes: vec!["write"], ..Options::default() });
    site.with(|state| state.refresh_tokens.insert("canary-refresh-0".to_owned(), ["read".to_owned()].into()));
    let token = auth_core::Secret::new("canary-refresh-0");
    let authorization = McpAuthorization::headless().with_refresh_token(site.mcp(), site.issuer(), token);
    let gateway = site.builder(authorization).build();
    let error = call(&gateway, &Principal::System).await.unwrap_err();
    let missing = error.authorization_error().and_then(AuthorizationError::missing_scopes);
    assert_eq!(missing.unwrap(), ["write"], "{error:?}");
    assert_eq!(site.counts(), (0, 1, 1));
}
