//! Secrets of logins do not appear in logs, errors and `Debug` output.

use agent_gateway::{ClientRegistration, McpAuthorization, Principal};
use auth_core::Secret;

use super::protected_server::{Options, ProtectedServer, User};
use super::{call, list_error};
use crate::log::Log;

#[tokio::test(flavor = "multi_thread")]
async fn codes_tokens_and_secrets_are_not_logged_or_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let server = ProtectedServer::start(Options { call_scopes: vec!["write"], ..Options::default() });
    let client = ClientRegistration::new(server.issuer(), "mine").with_secret(Secret::new("canary-secret"));
    let refresh_token = Secret::new("canary-refresh-0");
    let other_url = "https://other.test/mcp".parse().unwrap();
    let user = User::new();
    let authorization = McpAuthorization::new(user.clone()).with_client(client.clone());
    let authorization = authorization.with_refresh_token(other_url, server.issuer(), refresh_token);
    let gateway = server.builder(authorization.clone()).build();
    call(&gateway, &Principal::System).await.unwrap();
    server.revoke();
    call(&gateway, &Principal::System).await.unwrap();
    server.with_state(|state| state.options.rejects_all_tokens = true);
    let rejection = list_error(&gateway).await;
    assert_eq!(server.request_counts(), (3, 2, 0));

    let log_text = log.text();
    assert!(
        log_text.contains("a login is required") && log_text.contains("/redeem status=200"),
        "the log contains the logins"
    );
    let visible_text =
        format!("{gateway:?} {authorization:?} {client:?} {user:?} {rejection:?} {rejection} {log_text}");
    let state = server.with_state(|state| state.authorizations[0]["state"].clone());
    for secret in ["canary-secret", "canary-code", "canary-token", "canary-refresh", &state] {
        let leaking_line = visible_text.lines().find(|line| line.contains(secret));
        assert_eq!(leaking_line, None, "{secret}");
    }
}
