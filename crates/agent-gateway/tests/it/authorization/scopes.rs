//! Scopes that a server requires after the first login.

use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{AuthorizationError, McpAuthorization, Principal};

use super::protected_server::{Options, ProtectedServer, User};
use super::{SYSTEM, call};
use crate::clock::ManualClock;

/// Returns the scopes of each authorization request.
fn requested_scopes(server: &ProtectedServer) -> Vec<String> {
    server.with_state(|state| state.authorizations.iter().map(|form| form["scope"].clone()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn call_with_insufficient_scope_requests_the_union_once() {
    let server = ProtectedServer::start(Options { call_scopes: vec!["write", "delete"], ..Options::default() });
    let gateway = server.builder(McpAuthorization::new(User::new())).build();
    let calls = (0..10).map(|_| call(&gateway, &SYSTEM));
    let results = futures_util::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(requested_scopes(&server), ["read", "delete read write"]);
    call(&gateway, &Principal::System).await.unwrap();
    assert_eq!(requested_scopes(&server).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_always_requires_more_scopes_is_an_error() {
    let server = ProtectedServer::start(Options { always_requires_more_scopes: true, ..Options::default() });
    let clock = Arc::new(ManualClock::start());
    let gateway = server.builder(McpAuthorization::new(User::new())).with_clock(clock.clone()).build();
    let error = call(&gateway, &Principal::System).await.unwrap_err();
    let missing_scopes = error.authorization_error().and_then(AuthorizationError::missing_scopes);
    assert_eq!(missing_scopes.unwrap(), ["more-1"], "{error:?}");
    assert_eq!(requested_scopes(&server), ["read", "more-0 read"]);
    // Each call may ask the user once, up to a maximum number of logins.
    for _ in 0..20 {
        clock.advance(Duration::from_secs(301));
        assert!(call(&gateway, &Principal::System).await.is_err());
    }
    assert_eq!(requested_scopes(&server).len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_step_up_leaves_the_other_tools_usable() {
    let server = ProtectedServer::start(Options { call_scopes: vec!["write"], ..Options::default() });
    let gateway = server.builder(McpAuthorization::new(User::new())).build();
    crate::fake_server::list(&gateway, &Principal::System).await;
    server.with_state(|state| state.options.denies_logins = true);
    let error = call(&gateway, &Principal::System).await.unwrap_err();
    let oauth_error = error.authorization_error().and_then(AuthorizationError::oauth_error);
    assert!(oauth_error.is_some_and(auth_oauth::OAuthError::is_denied), "{error:?}");
    gateway.evict();
    crate::fake_server::list(&gateway, &Principal::System).await;
    assert_eq!(requested_scopes(&server).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_without_a_user_are_an_error() {
    let server = ProtectedServer::start(Options { call_scopes: vec!["write"], ..Options::default() });
    server.with_state(|state| state.refresh_tokens.insert("canary-refresh-0".to_owned(), ["read".to_owned()].into()));
    let token = auth_core::Secret::new("canary-refresh-0");
    let authorization = McpAuthorization::headless().with_refresh_token(server.mcp(), server.issuer(), token);
    let gateway = server.builder(authorization).build();
    let error = call(&gateway, &Principal::System).await.unwrap_err();
    let missing_scopes = error.authorization_error().and_then(AuthorizationError::missing_scopes);
    assert_eq!(missing_scopes.unwrap(), ["write"], "{error:?}");
    assert_eq!(server.request_counts(), (0, 1, 1));
}
