//! Logins, refreshes and scopes of servers with their own authorization server.

use std::sync::Arc;

use agent_gateway::{
    ClientRegistration, Discovered, Gateway, GatewayError, McpAuthorization, Principal, Server, ToolFilter,
};
use auth_core::TokenRequest;
use auth_oauth::{BrowserLogin, Endpoints, OAuthClient};
use serde_json::Map;
use url::Url;

use crate::order_server::{OrderServer, SCOPES};
use crate::provider::{Provider, TOKEN};
use crate::user::{User, UserBrowser};

const AUTHORIZE: &str = "/authorize";
const REGISTER: &str = "/reg";

fn gateway(authorization: McpAuthorization, servers: &[(&str, &Url)]) -> Gateway {
    let servers: Vec<_> = servers.iter().map(|(id, url)| Server::new((*url).clone(), *id)).collect();
    Gateway::builder(authorization, servers).with_plain_loopback().build()
}

async fn list(gateway: &Gateway) -> Result<Discovered, GatewayError> {
    gateway.evict();
    gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await
}

async fn call(gateway: &Gateway, name: &str) -> Result<String, GatewayError> {
    let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await?;
    let tool = listing.tools.iter().find(|tool| tool.name() == name).unwrap();
    gateway.call_tool(tool, &Principal::System, Map::new()).await.map(|result| result.text())
}

/// Returns the numbers of registrations, logins, redeemed codes and refreshes.
fn request_counts(provider: &Provider) -> (u64, u64, u64, u64) {
    let (codes, refreshes) = (provider.grants("authorization_code"), provider.grants("refresh_token"));
    (provider.requests(REGISTER), provider.requests(AUTHORIZE), codes, refreshes)
}

#[tokio::test(flavor = "multi_thread")]
async fn first_call_registers_a_client_and_logs_in_once() {
    let Some(provider) = Provider::start() else { return };
    let orders = OrderServer::start(&provider).await;
    let user = User::new("ada");
    let gateway = gateway(McpAuthorization::new(user.clone()).with_client_name("A test"), &[("orders", &orders.url)]);
    let calls = (0..20).map(|_| call(&gateway, "find"));
    let results = futures_util::future::join_all(calls).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|text| text == "find by ada")), "{results:?}");
    assert_eq!(request_counts(&provider), (1, 1, 1, 0));
    assert_eq!(provider.form()["resource"], orders.url.as_str());
    let pages = user.pages.lock().unwrap();
    assert_eq!(
        pages[0].scopes(),
        ["offline_access", "orders:read"],
        "the scope is from the challenge, not from the metadata"
    );
    assert_eq!((pages[0].server(), pages[0].issuer()), ("orders", provider.issuer.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_token_is_refreshed_for_its_resource() {
    let Some(provider) = Provider::start() else { return };
    let orders = OrderServer::start(&provider).await;
    let gateway = gateway(McpAuthorization::new(User::new("ada")), &[("orders", &orders.url)]);
    call(&gateway, "find").await.unwrap();
    for round in 1..=3 {
        orders.revoke();
        let calls = (0..10).map(|_| call(&gateway, "find"));
        let results = futures_util::future::join_all(calls).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(request_counts(&provider), (1, 1, 1, round));
    }
    assert_eq!(orders.session_count(), 0, "the server is stateless");
    assert_eq!(
        (&provider.form()["grant_type"], &provider.form()["resource"]),
        (&"refresh_token".into(), &orders.url.as_str().into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_login_is_replaced_by_one_login() {
    let Some(provider) = Provider::start() else { return };
    let orders = OrderServer::start(&provider).await;
    let authorization = McpAuthorization::new(User::new("ada"))
        .with_client(ClientRegistration::new(&provider.issuer, "native"))
        .with_redirect("http://127.0.0.1:0/callback".parse().unwrap())
        .unwrap();
    let gateway = gateway(authorization, &[("orders", &orders.url)]);
    call(&gateway, "find").await.unwrap();
    // Publishing keys deletes all logins of the provider.
    provider.publish_keys(&["key-2", "key-1"]);
    orders.revoke();
    call(&gateway, "find").await.unwrap();
    assert_eq!(request_counts(&provider), (0, 2, 2, 0));
    assert_eq!(provider.requests(TOKEN), 3, "the refused refresh is not repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_needs_another_scope_requests_both() {
    let Some(provider) = Provider::start() else { return };
    let orders = OrderServer::start(&provider).await;
    let user = User::new("ada");
    let gateway = gateway(McpAuthorization::new(user.clone()), &[("orders", &orders.url)]);
    assert_eq!(call(&gateway, "find").await.unwrap(), "find by ada");
    for _ in 0..2 {
        assert_eq!(call(&gateway, "cancel").await.unwrap(), "cancel by ada");
        assert_eq!(call(&gateway, "find").await.unwrap(), "find by ada");
    }
    assert_eq!(request_counts(&provider), (1, 2, 2, 0));
    assert_eq!(user.pages.lock().unwrap()[1].scopes(), ["offline_access", "orders:read", "orders:write"]);
    // The refreshed token has both scopes.
    orders.revoke();
    assert_eq!(call(&gateway, "cancel").await.unwrap(), "cancel by ada");
    assert_eq!(request_counts(&provider), (1, 2, 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_one_issuer_share_the_client_but_no_token() {
    let Some(provider) = Provider::start() else { return };
    let (orders, stock) = (OrderServer::start(&provider).await, OrderServer::start(&provider).await);
    let servers = [("orders", &orders.url), ("stock", &stock.url)];
    let gateway = gateway(McpAuthorization::new(User::new("ada")), &servers);
    let listing = list(&gateway).await.unwrap();
    assert_eq!(listing.tools.len(), 4);
    assert_eq!(request_counts(&provider), (1, 2, 2, 0));
    assert_eq!(
        (orders.rejection_count(), stock.rejection_count()),
        (0, 0),
        "neither server received the token of the other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_token_of_another_login_needs_no_user() {
    let Some(provider) = Provider::start() else { return };
    let orders = OrderServer::start(&provider).await;
    let endpoints = Endpoints::discover(&provider.http, &provider.issuer).await.unwrap();
    let client = OAuthClient::new(provider.http.clone(), endpoints, "native");
    let redirect = "http://127.0.0.1:0/callback".parse().unwrap();
    let login =
        BrowserLogin::new(client, redirect, Arc::new(UserBrowser(User::new("ada")))).unwrap().with_prompt("consent");
    let request = TokenRequest::new().with_resource(orders.url.as_str()).with_scopes(["offline_access", "orders:read"]);
    let login = login.log_in(&request).await.unwrap();
    let authorization = McpAuthorization::headless()
        .with_client(ClientRegistration::new(&provider.issuer, "native"))
        .with_refresh_token(orders.url.clone(), &provider.issuer, login.refresh_token().unwrap().clone());
    let gateway = gateway(authorization, &[("orders", &orders.url)]);
    assert_eq!(call(&gateway, "find").await.unwrap(), "find by ada");
    orders.revoke();
    assert_eq!(call(&gateway, "find").await.unwrap(), "find by ada");
    assert_eq!(request_counts(&provider), (0, 1, 1, 2));
    let error = call(&gateway, "cancel").await.unwrap_err();
    let missing_scopes = error.authorization_error().and_then(agent_gateway::AuthorizationError::missing_scopes);
    assert_eq!(missing_scopes.unwrap(), ["orders:write"], "{error:?}");
    assert!(SCOPES.contains("orders:write"));
}
