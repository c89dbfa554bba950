//! Servers that are not behind a gateway, and have their own authorization servers.

pub(crate) mod clients;
#[cfg(target_os = "linux")]
mod internal_names;
mod limits;
pub(crate) mod rejections;
mod scopes;
mod secrecy;
pub(crate) mod site;

use std::time::Duration;

use agent_gateway::{GatewayError, McpAuthorization, Principal, ToolFilter};
use auth_oauth::FileTokenStore;
use serde_json::Map;
use std::sync::Arc;

use crate::fake_server::{list, user};
use site::{Options, Site, User};

pub(crate) static SYSTEM: Principal = Principal::System;

/// Returns the error of listing the tools.
pub(crate) async fn list_error(gateway: &agent_gateway::Gateway) -> GatewayError {
    gateway.evict();
    gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap_err()
}

/// Calls the first tool.
pub(crate) async fn call(gateway: &agent_gateway::Gateway, principal: &Principal) -> Result<String, GatewayError> {
    let found = gateway.list_tools(principal, &ToolFilter::new()).strict().await?;
    gateway.call_tool(&found.tools[0], principal, Map::new()).await.map(|result| result.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn login_happens_once_for_all_callers() {
    for has_sessions in [false, true] {
        let site = Site::start(Options { has_sessions, ..Options::default() });
        let user = User::new();
        let gateway = site.builder(McpAuthorization::new(user.clone())).build();
        let calls = (0..20).map(|_| call(&gateway, &SYSTEM));
        let results = futures_util::future::join_all(calls).await;
        assert!(results.iter().all(|result| result.as_ref().is_ok_and(|text| text == "done")), "{results:?}");
        assert_eq!(site.counts(), (1, 0, 1));
        let (authorization, form, registration) = site
            .with(|state| (state.authorizations[0].clone(), state.forms[0].clone(), state.registrations[0].clone()));
        let resource = site.mcp().to_string();
        assert_eq!((&authorization["resource"], &form["resource"]), (&resource, &resource));
        assert_eq!((authorization["scope"].as_str(), authorization.get("login_hint")), ("read", None));
        assert_eq!((authorization["client_id"].as_str(), form["client_id"].as_str()), ("client-1", "client-1"));
        let redirect = registration["redirect_uris"][0].as_str().unwrap();
        let digest = redirect.strip_prefix("http://127.0.0.1/callback/").unwrap();
        assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{redirect}");
        assert_eq!(registration["application_type"], "native");
        let pages = user.pages.lock().unwrap();
        assert_eq!((pages[0].server(), pages[0].issuer(), pages[0].subject()), ("orders", &*site.issuer(), None));
        assert!(!format!("{:?}", pages[0]).contains("code_challenge"), "{:?}", pages[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_requires_no_token_gets_none() {
    let site = Site::start(Options { is_open: true, ..Options::default() });
    let gateway = site.builder(McpAuthorization::new(User::new())).build();
    assert_eq!(call(&gateway, &Principal::System).await.unwrap(), "done");
    assert_eq!(site.counts(), (0, 0, 0));
    assert!(site.with(|state| state.sent.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn principals_have_separate_logins() {
    let site = Site::start(Options::default());
    let someone = User::new();
    let gateway = site.builder(McpAuthorization::new(someone.clone())).build();
    let principals = [Principal::System, user("alice"), user("bob")];
    for principal in principals.iter().chain(&principals) {
        assert_eq!(call(&gateway, principal).await.unwrap(), "done");
    }
    assert_eq!(site.counts(), (3, 0, 1));
    let tokens = site.with(|state| state.sent.iter().cloned().collect::<std::collections::BTreeSet<_>>().len());
    assert_eq!(tokens, 3);
    let sent = site.with(|state| format!("{:?} {:?} {:?}", state.authorizations, state.forms, state.sent));
    assert!(!sent.contains("assertion-of-"), "the assertion is not sent");
    let subjects: Vec<_> = someone.pages.lock().unwrap().iter().map(|page| page.subject().map(str::len)).collect();
    assert_eq!(subjects, [None, Some(64), Some(64)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_of_the_user_is_not_that_of_the_server() {
    let site = Site::start(Options::default());
    // Longer than the time limit of `server/discover`, after which a session would be started.
    let user = User::slow(Duration::from_millis(4500));
    let gateway = site.builder(McpAuthorization::new(user)).build();
    list(&gateway, &Principal::System).await;
    assert!(site.with(|state| !state.methods.iter().any(|method| method == "initialize")));
}

#[tokio::test(flavor = "multi_thread")]
async fn login_in_a_file_store_needs_an_account_and_outlives_the_gateway() {
    let site = Site::start(Options::default());
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileTokenStore::new(folder.path().join("logins")));
    let user = User::new();
    let gateway = |authorization: McpAuthorization| {
        let gateway = site.builder(authorization).with_cache(store.clone()).with_lease(store.clone());
        gateway.build()
    };
    let error = list_error(&gateway(McpAuthorization::new(user.clone()))).await;
    assert!(error.authorization_error().is_some() && site.counts().0 == 0, "{error:?}");

    let registrations = Arc::new(agent_gateway::MemoryRegistrations::default());
    let authorization = || {
        let authorization = McpAuthorization::new(user.clone()).with_account("ada");
        authorization.with_registrations(registrations.clone())
    };
    list(&gateway(authorization()), &Principal::System).await;
    list(&gateway(authorization()), &Principal::System).await;
    assert_eq!((site.counts().0, site.counts().1), (1, 0));
    list(&gateway(authorization().with_account("bob")), &Principal::System).await;
    assert_eq!(site.counts().0, 2, "the login of another account");
}

#[tokio::test(flavor = "multi_thread")]
async fn cleared_tokens_require_a_login() {
    let site = Site::start(Options::default());
    let gateway = site.builder(McpAuthorization::new(User::new())).build();
    list(&gateway, &Principal::System).await;
    gateway.clear_tokens().await.unwrap();
    gateway.evict();
    list(&gateway, &Principal::System).await;
    assert_eq!(site.counts(), (2, 0, 1), "the registration is still used");
}
