//! Secrets do not leak. A separate process, because its log contains all threads.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "other tests use more of it")]

#[path = "../../../../tests/support/authority.rs"]
mod authority;
#[path = "../servers/lab.rs"]
mod lab;
#[path = "../../../../tests/support/log.rs"]
mod log;
#[path = "../servers/mcp.rs"]
mod mcp;
#[path = "../../../../tests/support/needs.rs"]
mod needs;
#[path = "../../../../tests/support/packages.rs"]
mod packages;
#[path = "../../../../tests/support/provider.rs"]
mod provider;

use std::time::Duration;

use agent_gateway::{Principal, ToolFilter, User};
use serde_json::json;

use crate::lab::{Lab, all_tools, object, tool};
use crate::log::Log;

#[tokio::test(flavor = "multi_thread")]
async fn no_key_no_assertion_and_no_token_is_logged_or_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let Some((mut shown, secrets)) = everything().await else { return };
    let log = log.text();
    assert!(log.contains("/v1/mcp/orders/tenant-1 status=200"), "the log is that of the calls");
    shown.push(log);
    for secret in secrets {
        assert!(secret.len() > 10);
        for text in &shown {
            let found = text.lines().find(|line| line.contains(&secret));
            assert_eq!(found, None, "{secret}");
        }
    }
}

/// Lists, calls, refreshes and fails. Returns all visible output, and the secrets it must not contain.
async fn everything() -> Option<(Vec<String>, Vec<String>)> {
    let lab = Lab::open()?;
    let (chain, key) = lab.clients.sign("machine.test");
    lab.bind(&(chain, key.clone()));
    let assertion = lab.provider.assertion("alice", Duration::from_secs(600));
    let alice = Principal::User(User::new(assertion.clone()).unwrap());
    let gateway = lab.builder().with_watch_interval(Duration::ZERO).build();
    let found = all_tools(&gateway, &Principal::System).await;
    let whoami = tool(&found, "orders", "add");
    let arguments = || object(json!({ "a": 1, "b": 2 }));
    gateway.call_tool(whoami, &alice, arguments()).await.unwrap();
    lab.mcp.revoke();
    gateway.call_tool(whoami, &alice, arguments()).await.unwrap();

    let forged = Principal::User(User::new(auth_core::Secret::new(format!("{}x", assertion.expose()))).unwrap());
    let refused = gateway.call_tool(whoami, &forged, arguments()).await.unwrap_err();
    lab.mcp.let_down(&[("orders", 500)]);
    let failed = gateway.call_tool(whoami, &alice, arguments()).await.unwrap_err();
    lab.bind(&(lab.clients.sign("machine.test").0, key.clone()));
    let broken = lab.builder().build();
    let mismatch = broken.list_tools(&alice, &ToolFilter::new()).strict().await.unwrap_err();
    assert!(mismatch.is_credentials(), "{mismatch:?}");

    let mut shown = vec![format!("{gateway:?} {:?} {alice:?} {found:?} {:?}", lab.builder(), lab.binding())];
    shown.extend([refused, failed, mismatch].map(|error| format!("{error} {error:?} {:?}", error.token_error())));
    let mut secrets = vec![assertion.expose().to_owned()];
    secrets.extend(key.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
    // The servers record the end of each token.
    secrets.extend(lab.mcp.requests("tools/call").iter().map(|call| call["token"].as_str().unwrap().to_owned()));
    Some((shown, secrets))
}
