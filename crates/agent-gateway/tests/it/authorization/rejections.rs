//! Tokens that the server or its authorization server no longer accepts.

use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{McpAuthorization, Principal};

use super::protected_server::{Options, ProtectedServer, User};
use super::{SYSTEM, call, list_error};
use crate::clock::ManualClock;
use crate::fake_server::list;

#[tokio::test(flavor = "multi_thread")]
async fn revoked_token_is_refreshed_within_the_session() {
    let server = ProtectedServer::start(Options { has_sessions: true, ..Options::default() });
    let gateway = server.builder(McpAuthorization::new(User::new())).build();
    call(&gateway, &Principal::System).await.unwrap();
    server.revoke();
    let calls = (0..10).map(|_| call(&gateway, &SYSTEM));
    let results = futures_util::future::join_all(calls).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(server.request_counts(), (1, 1, 1));
    let form = server.with_state(|state| state.token_requests.last().unwrap().clone());
    assert_eq!(form["resource"], server.mcp().to_string());
    assert!(!form.contains_key("scope"), "the refreshed token has the scopes of the login");
    let session_count =
        server.with_state(|state| state.methods.iter().filter(|method| *method == "initialize").count());
    assert_eq!(session_count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_login_is_replaced_by_one_login() {
    for without_refresh_tokens in [false, true] {
        let server = ProtectedServer::start(Options { without_refresh_tokens, ..Options::default() });
        let gateway = server.builder(McpAuthorization::new(User::new())).build();
        call(&gateway, &Principal::System).await.unwrap();
        server.revoke();
        server.with_state(|state| state.refresh_tokens.clear());
        let calls = (0..10).map(|_| call(&gateway, &SYSTEM));
        let results = futures_util::future::join_all(calls).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(server.request_counts(), (2, usize::from(!without_refresh_tokens), 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_rejects_every_token_causes_one_refresh_and_one_login() {
    let server = ProtectedServer::start(Options::default());
    let gateway = server.builder(McpAuthorization::new(User::new())).build();
    list(&gateway, &Principal::System).await;
    server.with_state(|state| state.options.rejects_all_tokens = true);
    let error = list_error(&gateway).await;
    assert!(error.authorization_error().is_some_and(agent_gateway::AuthorizationError::is_rejected), "{error:?}");
    assert!(error.is_unauthorized() && error.to_string().contains("`orders`"), "{error}");
    assert_eq!(server.request_counts(), (2, 1, 1));
    // The user is not asked to log in again soon.
    for _ in 0..3 {
        assert!(list_error(&gateway).await.is_unauthorized());
    }
    assert_eq!(server.request_counts(), (2, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn first_login_that_is_rejected_is_not_repeated() {
    let options = Options { rejects_all_tokens: true, without_refresh_tokens: true, ..Options::default() };
    let server = ProtectedServer::start(options);
    let clock = Arc::new(ManualClock::start());
    let gateway = server.builder(McpAuthorization::new(User::new())).with_clock(clock.clone()).build();
    for logins in [1, 1, 1, 2] {
        let error = list_error(&gateway).await;
        assert!(error.is_unauthorized(), "{error:?}");
        assert_eq!(server.request_counts(), (logins, 0, 1));
        clock.advance(Duration::from_secs(14));
    }
    // The server accepts tokens again, and the pause is over.
    server.with_state(|state| state.options.rejects_all_tokens = false);
    clock.advance(Duration::from_secs(60));
    list(&gateway, &Principal::System).await;
    assert_eq!(server.request_counts(), (3, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_login_is_not_repeated_soon() {
    let server = ProtectedServer::start(Options { denies_logins: true, ..Options::default() });
    let clock = Arc::new(ManualClock::start());
    let gateway = server.builder(McpAuthorization::new(User::new())).with_clock(clock.clone()).build();
    for logins in [1, 1, 1, 2] {
        let error = list_error(&gateway).await;
        let oauth_error = error.authorization_error().and_then(agent_gateway::AuthorizationError::oauth_error);
        assert!(oauth_error.is_some_and(auth_oauth::OAuthError::is_denied), "{error:?}");
        assert_eq!(server.request_counts(), (logins, 0, 1));
        clock.advance(Duration::from_secs(14));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_may_change_its_authorization_server() {
    let (server, other) = (ProtectedServer::start(Options::default()), ProtectedServer::start(Options::default()));
    let gateway = server.builder(McpAuthorization::new(User::new())).build();
    list(&gateway, &Principal::System).await;
    server.revoke();
    server.with_state(|state| {
        state.refresh_tokens.clear();
        state.options.without_refresh_tokens = true;
    });
    // The first authorization server still issues tokens, so the user logs in there again.
    gateway.evict();
    list(&gateway, &Principal::System).await;
    server.with_state(|state| state.options.other_issuer = Some(other.issuer()));
    server.revoke();
    let error = list_error(&gateway).await;
    // The server does not know the tokens of its new authorization server.
    assert!(error.is_unauthorized(), "{error:?}");
    assert_eq!(
        (other.logins(), other.registrations()),
        (1, 1),
        "a login at the other authorization server, with a newly registered client"
    );
    let client_id = other.with_state(|state| state.authorizations[0]["client_id"].clone());
    assert_eq!(client_id, "client-1");
}
