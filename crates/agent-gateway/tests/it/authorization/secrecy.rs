//! Secrets of logins are not shown.

use agent_gateway::{ClientRegistration, McpAuthorization, Principal};
use auth_core::Secret;

use super::site::{Options, Site, User};
use super::{call, list_error};
use crate::log::Log;

#[tokio::test(flavor = "multi_thread")]
async fn no_code_no_token_and_no_secret_is_logged_or_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let site = Site::start(Options { call_scopes: vec!["write"], ..Options::default() });
    let client = ClientRegistration::new(site.issuer(), "mine").with_secret(Secret::new("canary-secret"));
    let initial = Secret::new("canary-refresh-0");
    let other = "https://other.test/mcp".parse().unwrap();
    let user = User::new();
    let authorization = McpAuthorization::new(user.clone()).with_client(client.clone());
    let authorization = authorization.with_refresh_token(other, site.issuer(), initial);
    let gateway = site.builder(authorization.clone()).build();
    call(&gateway, &Principal::System).await.unwrap();
    site.revoke();
    call(&gateway, &Principal::System).await.unwrap();
    site.with(|state| state.options.rejects_everything = true);
    let rejected = list_error(&gateway).await;
    assert_eq!(site.counts(), (3, 2, 0));

    let text = log.text();
    assert!(
        text.contains("a login is required") && text.contains("/redeem status=200"),
        "the log is that of the logins"
    );
    let shown = format!("{gateway:?} {authorization:?} {client:?} {user:?} {rejected:?} {rejected} {text}");
    let state = site.with(|state| state.authorizations[0]["state"].clone());
    for secret in ["canary-secret", "canary-code", "canary-token", "canary-refresh", &state] {
        let found = shown.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret}");
    }
}
