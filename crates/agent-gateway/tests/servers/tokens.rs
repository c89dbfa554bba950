//! Numbers, subjects and lifetimes of tokens.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::ManualClock;
use agent_gateway::{Principal, ToolFilter, User};
use auth_core::{MemoryTokenCache, Secret};
use serde_json::{Map, json};

use crate::provider::TOKEN;
use crate::test_bed::{RESOURCE, TestBed, all_tools, object, tool, whoami};

#[tokio::test(flavor = "multi_thread")]
async fn hundred_rounds_need_one_token_each_and_one_after_revocation() {
    for test_bed in [TestBed::open, TestBed::with_sessions, TestBed::with_version_1] {
        let Some(test_bed) = test_bed() else { return };
        run_hundred_rounds(&test_bed).await;
        // Each principal starts one session, or discovers the stateless server once.
        let start_method =
            if test_bed.mcp.requests("initialize").is_empty() { "server/discover" } else { "initialize" };
        assert_eq!(test_bed.mcp.requests(start_method).len(), 2);
    }
}

async fn run_hundred_rounds(test_bed: &TestBed) {
    let (gateway, alice) = (test_bed.builder().build(), test_bed.user("alice"));
    let filter = ToolFilter::new().with_ord_id("orders");
    for round in 0..100 {
        if round == 50 {
            assert_eq!(test_bed.tokens(), (1, 1, 2));
            test_bed.mcp.revoke();
        }
        gateway.evict();
        let listing = gateway.list_tools(&Principal::System, &filter).strict().await.unwrap();
        let arguments = object(json!({ "a": round, "b": 1 }));
        let sum = gateway.call_tool(tool(&listing, "orders", "add"), &alice, arguments).await.unwrap();
        assert_eq!(sum.text(), (round + 1).to_string());
    }
    assert_eq!(test_bed.tokens(), (2, 2, 4));
    let rejection_count =
        |method| test_bed.mcp.requests(method).iter().filter(|request| request["status"] == 401).count();
    assert_eq!(
        (rejection_count("tools/list"), rejection_count("tools/call")),
        (1, 1),
        "each principal gets one rejection"
    );
    assert_eq!(test_bed.mcp.requests("tools/list").len(), 101, "every round lists the tools of the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_share_one_token_and_session() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let gateway = test_bed.builder().build();
    let users = ["alice", "bob"].map(|name| test_bed.user(name));
    let listing = all_tools(&gateway, &users[0]).await;
    let calls = (0..40).map(|call| {
        let (gateway, listing, user) = (&gateway, &listing, &users[call % 2]);
        async move { whoami(gateway, listing, "people", user).await["sub"].as_str().unwrap().to_owned() }
    });
    let subjects = futures_util::future::join_all(calls).await;
    assert!(subjects.iter().enumerate().all(|(call, subject)| subject == ["alice", "bob"][call % 2]), "{subjects:?}");
    assert_eq!(test_bed.tokens(), (0, 2, 2));
    let is_to_people = |request: &&serde_json::Value| request["server"] == "people";
    assert_eq!(test_bed.mcp.requests("initialize").iter().filter(is_to_people).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_request_has_the_expected_parameters() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let form = json!({
        "grant_type": "client_credentials", "client_id": "machine-certificate", "response_type": "token",
        "resource": RESOURCE,
    });
    assert_eq!(test_bed.provider.form(), form);
    whoami(&gateway, &listing, "orders", &test_bed.user("alice")).await;
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
    let listing = all_tools(&gateway, &Principal::System).await;
    let before = whoami(&gateway, &listing, "orders", &alice).await;
    gateway.clear_tokens().await.unwrap();
    assert_ne!(whoami(&gateway, &listing, "orders", &alice).await["token"], before["token"]);
    whoami(&gateway, &listing, "orders", &Principal::System).await;
    assert_eq!(test_bed.tokens(), (2, 2, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn user_token_expires_with_its_assertion() {
    let Some(test_bed) = TestBed::open() else { return };
    let clock = Arc::new(ManualClock::start());
    let gateway = test_bed.builder().with_clock(clock.clone()).build();
    let alice = test_bed.user("alice");
    let listing = all_tools(&gateway, &Principal::System).await;
    whoami(&gateway, &listing, "orders", &alice).await;
    // The token of the provider is valid for an hour, and the assertion for ten minutes.
    clock.advance(Duration::from_secs(601));
    let call_count = test_bed.mcp.requests("tools/call").len();
    let error = gateway.call_tool(tool(&listing, "orders", "whoami"), &alice, Map::new()).await.unwrap_err();
    assert!(error.token_error().is_some_and(auth_core::TokenError::is_refused), "{error:?}");
    assert_eq!(test_bed.mcp.requests("tools/call").len(), call_count, "nothing was sent");
    assert_eq!(test_bed.tokens(), (1, 1, 2), "the expired assertion is not sent");
    whoami(&gateway, &listing, "orders", &Principal::System).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_without_a_valid_token_never_gets_the_system_token() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    for invalid_assertion in ["", " ", "Bearer ", "no token"] {
        assert!(User::new(Secret::new(invalid_assertion)).is_err());
        let error = Principal::user_or_system(Some(Secret::new(invalid_assertion))).unwrap_err().to_string();
        assert!(error.contains("assertion") && !error.contains("no token"), "{error}");
    }
    let forged_assertion = test_bed.provider.assertion("alice", Duration::from_secs(600)).expose().replace('.', ".e");
    let forged_user = Principal::User(User::new(Secret::new(forged_assertion)).unwrap());
    let error = gateway.list_tools(&forged_user, &ToolFilter::new()).strict().await.unwrap_err();
    assert!(error.is_token_error() && error.token_error().unwrap().is_refused(), "{error:?}");
    assert_eq!(test_bed.tokens().0, 0, "no system token was requested");
    assert!(test_bed.mcp.requests("initialize").is_empty(), "no server received a request");

    let principal = Principal::user_or_system(None).unwrap();
    assert_eq!(principal, Principal::System);
    let listing = all_tools(&gateway, &principal).await;
    assert_eq!(whoami(&gateway, &listing, "orders", &principal).await["sub"], "machine-certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_with_equal_names_have_separate_tokens() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &test_bed.user("alice")).await;
    let second_login = test_bed.user("alice");
    whoami(&gateway, &listing, "orders", &second_login).await;
    assert_eq!(test_bed.tokens(), (0, 2, 2), "each assertion has its own token");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_refreshed_30_s_before_expiry_in_the_background() {
    let Some(test_bed) = TestBed::open() else { return };
    let clock = Arc::new(ManualClock::start());
    let gateway = test_bed.builder().with_clock(clock.clone()).build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let first = whoami(&gateway, &listing, "orders", &Principal::System).await;
    // The token is valid for an hour. The refresh starts 24 to 30 s before the expiry, because of the jitter.
    clock.advance(Duration::from_secs(3600 - 31));
    assert_eq!(whoami(&gateway, &listing, "orders", &Principal::System).await["token"], first["token"]);
    assert_eq!(test_bed.tokens(), (1, 0, 1));
    clock.advance(Duration::from_secs(8));
    assert_eq!(whoami(&gateway, &listing, "orders", &Principal::System).await["token"], first["token"]);
    test_bed.provider.wait_for(TOKEN, 2);
    let until_token_is_replaced =
        async { while whoami(&gateway, &listing, "orders", &Principal::System).await["token"] == first["token"] {} };
    tokio::time::timeout(Duration::from_secs(30), until_token_is_replaced).await.unwrap();
    assert_eq!(test_bed.tokens(), (2, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn user_tokens_are_bounded_and_do_not_evict_the_system_token() {
    let Some(test_bed) = TestBed::open() else { return };
    let cache = MemoryTokenCache::builder().with_max_client_tokens(1).with_max_user_tokens(2).build();
    let gateway = test_bed.builder().with_cache(Arc::new(cache)).build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let users = ["alice", "bob", "carol"].map(|name| test_bed.user(name));
    for user in [&users[0], &users[1], &users[2], &users[2], &users[1]] {
        whoami(&gateway, &listing, "orders", user).await;
    }
    whoami(&gateway, &listing, "orders", &Principal::System).await;
    assert_eq!(test_bed.tokens(), (1, 3, 4));
    whoami(&gateway, &listing, "orders", &users[0]).await;
    assert_eq!(test_bed.tokens(), (1, 4, 5), "the least recently used token is evicted");
}
