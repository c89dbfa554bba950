//! Listing and calling tools.

use agent_gateway::Principal;
use serde_json::json;

use crate::test_bed::{SERVERS, TestBed, all_tools, object, tool, whoami};

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_listed_and_called_by_system_and_user() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let listing = all_tools(&gateway, &Principal::System).await;
    let servers: Vec<_> = listing.tools.iter().map(|tool| tool.server().ord_id()).collect();
    assert!(servers.is_sorted_by_key(|name| SERVERS.iter().position(|server| server == name)), "{servers:?}");
    assert_eq!(listing.tools.len(), SERVERS.len() * 8);

    let add = tool(&listing, "stock", "add");
    assert_eq!(add.description(), Some("Adds two integers."));
    let sum = gateway.call_tool(add, &Principal::System, object(json!({ "a": 2, "b": 40 }))).await.unwrap();
    assert_eq!((sum.text().as_str(), sum.structured()), ("42", Some(&json!({ "result": 42 }))));
    assert_eq!(whoami(&gateway, &listing, "stock", &Principal::System).await["sub"], "machine-certificate");
    let alice = test_bed.user("alice");
    assert_eq!(whoami(&gateway, &listing, "stock", &alice).await["sub"], "alice");
    assert_eq!(whoami(&gateway, &listing, "stock", &test_bed.user("bob")).await["sub"], "bob");
    assert_eq!(whoami(&gateway, &listing, "stock", &alice).await["sub"], "alice");
    assert_eq!(test_bed.tokens(), (1, 2, 3));
}
