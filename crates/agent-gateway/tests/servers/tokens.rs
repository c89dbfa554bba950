//! Numbers, subjects and lifetimes of tokens.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::ManualClock;
use agent_gateway::{Principal, ToolFilter, User};
use auth_core::{MemoryTokenCache, Secret};
use serde_json::{Map, json};

use crate::provider::TOKEN;
use crate::test_bed::{RESOURCE, TestBed, all_tools, caller, object, tool};

#[tokio::test(flavor = "multi_thread")]
async fn hundred_rounds_need_one_token_each_and_one_after_revocation() {
    for test_bed in [TestBed::open, TestBed::with_sessions, TestBed::with_version_1] {
        let Some(test_bed) = test_bed() else { return };
        hundred_rounds(&test_bed).await;
        // One session for each of both, or none.
        let begun = if test_bed.mcp.requests("initialize").is_empty() { "server/discover" } else { "initialize" };
        assert_eq!(test_bed.mcp.requests(begun).len(), 2);
    }
}

async fn hundred_rounds(test_bed: &TestBed) {
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    let filter = ToolFilter::new().with_ord_id("orders");
    for round in 0..100 {
        if round == 50 {
            assert_eq!(test_bed.tokens(), (1, 1, 2));
            test_bed.mcp.revoke();
        }
        gateway.evict();
        let found = gateway.list_tools(&Principal::System, &filter).strict().await.unwrap();
        let arguments = object(json!({ "a": round, "b": 1 }));
        let sum = gateway.call_tool(tool(&found, "orders", "add"), &alice, arguments).await.unwrap();
        assert_eq!(sum.text(), (round + 1).to_string());
    }
    assert_eq!(test_bed.tokens(), (2, 2, 4));
    let refused = |method| test_bed.mcp.requests(method).iter().filter(|request| request["status"] == 401).count();
    assert_eq!((refused("tools/list"), refused("tools/call")), (1, 1), "each principal discovers the change itself");
    assert_eq!(test_bed.mcp.requests("tools/list").len(), 101, "every round asked the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_share_one_token_and_session() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let gateway = test_bed.builder().build();
    let users = ["alice", "bob"].map(|name| test_bed.user(name));
    let found = all_tools(&gateway, &users[0]).await;
    let calls = (0..40).map(|call| {
        let (gateway, found, user) = (&gateway, &found, &users[call % 2]);
        async move { caller(gateway, found, "people", user).await["sub"].as_str().unwrap().to_owned() }
    });
    let subjects = futures_util::future::join_all(calls).await;
    assert!(subjects.iter().enumerate().all(|(call, subject)| subject == ["alice", "bob"][call % 2]), "{subjects:?}");
    assert_eq!(test_bed.tokens(), (0, 2, 2));
    let at_people = |request: &&serde_json::Value| request["server"] == "people";
    assert_eq!(test_bed.mcp.requests("initialize").iter().filter(at_people).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_request_has_the_expected_parameters() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let found = all_tools(&gateway, &Principal::System).await;
    let form = json!({
        "grant_type": "client_credentials", "client_id": "machine-certificate", "response_type": "token",
        "resource": RESOURCE,
    });
    assert_eq!(test_bed.provider.form(), form);
    caller(&gateway, &found, "orders", &test_bed.user("alice")).await;
    let form = json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_id": "machine-certificate",
        "token_format": "jwt", "resource": RESOURCE,
    });
    assert_eq!(test_bed.provider.form(), form);
}

#[tokio::test(flavor = "multi_thread")]
async fn cleared_tokens_are_requested_again() {
    let Some(test_bed) = TestBed::open() else { return };
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    gateway.clear_tokens().await.unwrap();
    let found = all_tools(&gateway, &Principal::System).await;
    let before = caller(&gateway, &found, "orders", &alice).await;
    gateway.clear_tokens().await.unwrap();
    assert_ne!(caller(&gateway, &found, "orders", &alice).await["token"], before["token"]);
    caller(&gateway, &found, "orders", &Principal::System).await;
    assert_eq!(test_bed.tokens(), (2, 2, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn user_token_expires_with_its_assertion() {
    let Some(test_bed) = TestBed::open() else { return };
    let clock = Arc::new(ManualClock::start());
    let gateway = test_bed.builder().with_clock(clock.clone()).build();
    let alice = test_bed.user("alice");
    let found = all_tools(&gateway, &Principal::System).await;
    caller(&gateway, &found, "orders", &alice).await;
    // The provider's token is valid for an hour, the assertion for ten minutes.
    clock.advance(Duration::from_secs(601));
    let called = test_bed.mcp.requests("tools/call").len();
    let error = gateway.call_tool(tool(&found, "orders", "whoami"), &alice, Map::new()).await.unwrap_err();
    assert!(error.token_error().is_some_and(auth_core::TokenError::is_refused), "{error:?}");
    assert_eq!(test_bed.mcp.requests("tools/call").len(), called, "nothing was sent");
    assert_eq!(test_bed.tokens(), (1, 1, 2), "no request was redundant");
    caller(&gateway, &found, "orders", &Principal::System).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_without_a_valid_token_never_gets_the_system_token() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    for nothing in ["", " ", "Bearer ", "no token"] {
        assert!(User::new(Secret::new(nothing)).is_err());
        let error = Principal::user_or_system(Some(Secret::new(nothing))).unwrap_err().to_string();
        assert!(error.contains("assertion") && !error.contains("no token"), "{error}");
    }
    let forged = test_bed.provider.assertion("alice", Duration::from_secs(600)).expose().replace('.', ".e");
    let forged = Principal::User(User::new(Secret::new(forged)).unwrap());
    let error = gateway.list_tools(&forged, &ToolFilter::new()).strict().await.unwrap_err();
    assert!(error.is_token_error() && error.token_error().unwrap().is_refused(), "{error:?}");
    assert_eq!(test_bed.tokens().0, 0, "no system token was requested");
    assert!(test_bed.mcp.requests("initialize").is_empty(), "no server received a request");

    let nobody = Principal::user_or_system(None).unwrap();
    assert_eq!(nobody, Principal::System);
    let found = all_tools(&gateway, &nobody).await;
    assert_eq!(caller(&gateway, &found, "orders", &nobody).await["sub"], "machine-certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_with_equal_names_have_separate_tokens() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let found = all_tools(&gateway, &test_bed.user("alice")).await;
    let another_login = test_bed.user("alice");
    caller(&gateway, &found, "orders", &another_login).await;
    assert_eq!(test_bed.tokens(), (0, 2, 2), "the tokens are not verified to be the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_refreshed_30_s_before_expiry_in_the_background() {
    let Some(test_bed) = TestBed::open() else { return };
    let clock = Arc::new(ManualClock::start());
    let gateway = test_bed.builder().with_clock(clock.clone()).build();
    let found = all_tools(&gateway, &Principal::System).await;
    let first = caller(&gateway, &found, "orders", &Principal::System).await;
    // The token is valid for an hour; up to a fifth of the thirty seconds is jitter.
    clock.advance(Duration::from_secs(3600 - 31));
    assert_eq!(caller(&gateway, &found, "orders", &Principal::System).await["token"], first["token"]);
    assert_eq!(test_bed.tokens(), (1, 0, 1));
    clock.advance(Duration::from_secs(8));
    assert_eq!(caller(&gateway, &found, "orders", &Principal::System).await["token"], first["token"]);
    test_bed.provider.wait_for(TOKEN, 2);
    let renewed =
        async { while caller(&gateway, &found, "orders", &Principal::System).await["token"] == first["token"] {} };
    tokio::time::timeout(Duration::from_secs(30), renewed).await.unwrap();
    assert_eq!(test_bed.tokens(), (2, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn user_tokens_are_bounded_and_do_not_evict_the_system_token() {
    let Some(test_bed) = TestBed::open() else { return };
    let cache = MemoryTokenCache::builder().with_max_client_tokens(1).with_max_user_tokens(2).build();
    let gateway = test_bed.builder().with_cache(Arc::new(cache)).build();
    let found = all_tools(&gateway, &Principal::System).await;
    let users = ["alice", "bob", "carol"].map(|name| test_bed.user(name));
    for user in [&users[0], &users[1], &users[2], &users[2], &users[1]] {
        caller(&gateway, &found, "orders", user).await;
    }
    caller(&gateway, &found, "orders", &Principal::System).await;
    assert_eq!(test_bed.tokens(), (1, 3, 4));
    caller(&gateway, &found, "orders", &users[0]).await;
    assert_eq!(test_bed.tokens(), (1, 4, 5), "the least recently used token is evicted");
}
