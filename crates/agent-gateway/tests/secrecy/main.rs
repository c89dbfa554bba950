//! Secrets do not leak into logs and errors. This test has its own binary, because its log captures the whole process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "other tests use more of it")]

#[path = "../../../../tests/support/authority.rs"]
mod authority;
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
#[path = "../servers/test_bed.rs"]
mod test_bed;

use std::time::Duration;

use agent_gateway::{Principal, ToolFilter, User};
use serde_json::json;

use crate::log::Log;
use crate::test_bed::{TestBed, all_tools, object, tool};

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_errors_show_no_key_assertion_or_token() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let Some((mut visible_texts, secrets)) = run_all_operations().await else { return };
    let log = log.text();
    assert!(log.contains("/v1/mcp/orders/tenant-1 status=200"), "the log contains the calls");
    visible_texts.push(log);
    for secret in secrets {
        assert!(secret.len() > 10);
        for text in &visible_texts {
            let leaking_line = text.lines().find(|line| line.contains(&secret));
            assert_eq!(leaking_line, None, "{secret}");
        }
    }
}

/// Lists tools and makes calls that succeed, refresh a token or fail. Returns all visible output, and the secrets that
/// it must not contain.
async fn run_all_operations() -> Option<(Vec<String>, Vec<String>)> {
    let test_bed = TestBed::open()?;
    let (chain, key) = test_bed.client_authority.sign("machine.test");
    test_bed.write_binding(&(chain, key.clone()));
    let assertion = test_bed.provider.assertion("alice", Duration::from_secs(600));
    let alice = Principal::User(User::new(assertion.clone()).unwrap());
    let gateway = test_bed.builder().with_watch_interval(Duration::ZERO).build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let add = tool(&listing, "orders", "add");
    let arguments = || object(json!({ "a": 1, "b": 2 }));
    gateway.call_tool(add, &alice, arguments()).await.unwrap();
    test_bed.mcp.revoke();
    gateway.call_tool(add, &alice, arguments()).await.unwrap();

    let forged_user = Principal::User(User::new(auth_core::Secret::new(format!("{}x", assertion.expose()))).unwrap());
    let assertion_error = gateway.call_tool(add, &forged_user, arguments()).await.unwrap_err();
    test_bed.mcp.fail_servers(&[("orders", 500)]);
    let status_error = gateway.call_tool(add, &alice, arguments()).await.unwrap_err();
    test_bed.write_binding(&(test_bed.client_authority.sign("machine.test").0, key.clone()));
    let gateway_with_wrong_key = test_bed.builder().build();
    let certificate_error = gateway_with_wrong_key.list_tools(&alice, &ToolFilter::new()).strict().await.unwrap_err();
    assert!(certificate_error.is_credentials(), "{certificate_error:?}");

    let mut visible_texts =
        vec![format!("{gateway:?} {:?} {alice:?} {listing:?} {:?}", test_bed.builder(), test_bed.binding())];
    visible_texts.extend(
        [assertion_error, status_error, certificate_error]
            .map(|error| format!("{error} {error:?} {:?}", error.token_error())),
    );
    let mut secrets = vec![assertion.expose().to_owned()];
    secrets.extend(key.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
    // The servers record the last characters of each token.
    secrets.extend(test_bed.mcp.requests("tools/call").iter().map(|call| call["token"].as_str().unwrap().to_owned()));
    Some((visible_texts, secrets))
}
