//! Servers that are not behind a gateway, with their own authorization servers.

pub(crate) mod clients;
#[cfg(target_os = "linux")]
mod internal_names;
mod limits;
pub(crate) mod protected_server;
pub(crate) mod rejections;
mod scopes;
mod secrecy;

use std::time::Duration;

use agent_gateway::{GatewayError, McpAuthorization, Principal, ToolFilter};
use auth_oauth::FileTokenStore;
use serde_json::Map;
use std::sync::Arc;

use crate::fake_server::{list, user};
use protected_server::{Options, ProtectedServer, User};

pub(crate) static SYSTEM: Principal = Principal::System;

/// Lists the tools without the cache. Returns the error.
pub(crate) async fn list_error(gateway: &agent_gateway::Gateway) -> GatewayError {
    gateway.evict();
    gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap_err()
}

/// Calls the first tool. Returns the text of its result.
pub(crate) async fn call(gateway: &agent_gateway::Gateway, principal: &Principal) -> Result<String, GatewayError> {
    let listing = gateway.list_tools(principal, &ToolFilter::new()).strict().await?;
    gateway.call_tool(&listing.tools[0], principal, Map::new()).await.map(|result| result.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn login_happens_once_for_all_callers() {
    for has_sessions in [false, true] {
        let server = ProtectedServer::start(Options { has_sessions, ..Options::default() });
        let user = User::new();
        let gateway = server.builder(McpAuthorization::new(user.clone())).build();
        let calls = (0..20).map(|_| call(&gateway, &SYSTEM));
        let results = futures_util::future::join_all(calls).await;
        assert!(results.iter().all(|result| result.as_ref().is_ok_and(|text| text == "done")), "{results:?}");
        assert_eq!(server.request_counts(), (1, 0, 1));
        let (authorization, form, registration) = server.with_state(|state| {
            (state.authorizations[0].clone(), state.token_requests[0].clone(), state.registrations[0].clone())
        });
        let resource = server.mcp().to_string();
        assert_eq!((&authorization["resource"], &form["resource"]), (&resource, &resource));
        assert_eq!((authorization["scope"].as_str(), authorization.get("login_hint")), ("read", None));
        assert_eq!((authorization["client_id"].as_str(), form["client_id"].as_str()), ("client-1", "client-1"));
        let redirect = registration["redirect_uris"][0].as_str().unwrap();
        let digest = redirect.strip_prefix("http://127.0.0.1/callback/").unwrap();
        assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{redirect}");
        assert_eq!(registration["application_type"], "native");
        let pages = user.pages.lock().unwrap();
        assert_eq!((pages[0].server(), pages[0].issuer(), pages[0].subject()), ("orders", &*server.issuer(), None));
        assert!(!format!("{:?}", pages[0]).contains("code_challenge"), "{:?}", pages[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_requires_no_token_gets_none() {
    let server = ProtectedServer::start(Options { is_open: true, ..Options::default() });
    let gateway = server.builder(McpAuthorization::new(User::new())).build();
    assert_eq!(call(&gateway, &Principal::System).await.unwrap(), "done");
    assert_eq!(server.request_counts(), (0, 0, 0));
    assert!(server.with_state(|state| state.sent_tokens.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn principals_have_separate_logins() {
    let server = ProtectedServer::start(Options::default());
    let person = User::new();
    let gateway = server.builder(McpAuthorization::new(person.clone())).build();
    let principals = [Principal::System, user("alice"), user("bob")];
    for principal in principals.iter().chain(&principals) {
        assert_eq!(call(&gateway, principal).await.unwrap(), "done");
    }
    assert_eq!(server.request_counts(), (3, 0, 1));
    let token_count =
        server.with_state(|state| state.sent_tokens.iter().cloned().collect::<std::collections::BTreeSet<_>>().len());
    assert_eq!(token_count, 3);
    let sent_data = server
        .with_state(|state| format!("{:?} {:?} {:?}", state.authorizations, state.token_requests, state.sent_tokens));
    assert!(!sent_data.contains("assertion-of-"), "the assertion is not sent");
    let subjects: Vec<_> = person.pages.lock().unwrap().iter().map(|page| page.subject().map(str::len)).collect();
    assert_eq!(subjects, [None, Some(64), Some(64)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_login_does_not_time_out_the_server() {
    let server = ProtectedServer::start(Options::default());
    // Longer than the time limit of `server/discover`. If the delay counted, the client would start a session.
    let user = User::slow(Duration::from_millis(4500));
    let gateway = server.builder(McpAuthorization::new(user)).build();
    list(&gateway, &Principal::System).await;
    assert!(server.with_state(|state| !state.methods.iter().any(|method| method == "initialize")));
}

#[tokio::test(flavor = "multi_thread")]
async fn login_in_a_file_store_needs_an_account_and_outlives_the_gateway() {
    let server = ProtectedServer::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileTokenStore::new(folder.path().join("logins")));
    let user = User::new();
    let gateway = |authorization: McpAuthorization| {
        let gateway = server.builder(authorization).with_cache(store.clone()).with_lease(store.clone());
        gateway.build()
    };
    let error = list_error(&gateway(McpAuthorization::new(user.clone()))).await;
    assert!(error.authorization_error().is_some() && server.logins() == 0, "{error:?}");

    let registrations = Arc::new(agent_gateway::MemoryRegistrations::default());
    let authorization = || {
        let authorization = McpAuthorization::new(user.clone()).with_account("ada");
        authorization.with_registrations(registrations.clone())
    };
    list(&gateway(authorization()), &Principal::System).await;
    list(&gateway(authorization()), &Principal::System).await;
    assert_eq!((server.logins(), server.refreshes()), (1, 0));
    list(&gateway(authorization().with_account("bob")), &Principal::System).await;
    assert_eq!(server.logins(), 2, "another account needs another login");
}

#[tokio::test(flavor = "multi_thread")]
async fn cleared_tokens_require_a_login() {
    let server = ProtectedServer::start(Options::default());
    let gateway = server.builder(McpAuthorization::new(User::new())).build();
    list(&gateway, &Principal::System).await;
    gateway.clear_tokens().await.unwrap();
    gateway.evict();
    list(&gateway, &Principal::System).await;
    assert_eq!(server.request_counts(), (2, 0, 1), "the registration is still used");
}
