//! Discovery with many servers.

use std::sync::Arc;
use std::time::Duration;

use agent_gateway::{Gateway, Principal, Server, ToolFilter};
use auth_core::{Clock, SystemClock};
use auth_http::HttpClient;
use platform_testkit::ManualClock;
use serde_json::json;
use tokio::net::TcpListener;

use crate::lab::{Lab, SERVERS, all_tools, object, tool};

/// Returns a server at a port without a listener.
async fn nowhere(name: &str) -> Server {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    Server::behind(&format!("https://localhost:{port}").parse().unwrap(), name, "tenant-1").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_is_down_is_reported_and_hides_no_other() {
    let Some(lab) = Lab::open() else { return };
    let gateway: url::Url = format!("https://localhost:{}", lab.mcp.port).parse().unwrap();
    let mut servers: Vec<_> = SERVERS.map(|name| Server::behind(&gateway, name, "tenant-1").unwrap()).into();
    servers[2] = nowhere("people").await;
    let http = HttpClient::builder().with_root_certificates(lab.servers.file());
    let gateway = Gateway::builder(lab.binding(), servers.clone()).with_http(http).build();
    let answering: Vec<_> = SERVERS.into_iter().filter(|name| *name != "people").collect();
    // Sequential requests would deadlock.
    lab.mcp.wait_together(answering.len());

    let found = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
    assert_eq!(found.tools.len(), 4 * 8);
    assert!(answering.iter().all(|name| found.tools.iter().any(|tool| tool.server().ord_id() == *name)));
    assert_eq!(found.errors.len(), 1);
    assert_eq!(found.errors[0].server(), Some(&servers[2]));
    assert!(found.errors[0].is_connect(), "{:?}", found.errors);
    assert!(found.errors[0].to_string().contains("`people` of the tenant `tenant-1`"), "{}", found.errors[0]);

    let error = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap_err();
    assert_eq!(error.server(), Some(&servers[2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_server_is_reported_with_its_failure() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().with_discovery_timeout(Duration::from_secs(20)).build();
    lab.mcp.let_down(&[("stock", 503), ("ledger", 0)]);
    let found = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
    assert_eq!(found.tools.len(), 3 * 8);
    let [stock, ledger] = &found.errors[..] else { panic!("{:?}", found.errors) };
    assert_eq!((stock.server().unwrap().ord_id(), stock.status()), ("stock", Some(503)));
    assert!(ledger.server().unwrap().ord_id() == "ledger" && ledger.is_timeout(), "{ledger:?}");

    lab.mcp.let_down(&[]);
    let asked = lab.mcp.requests("tools/list").len();
    let found = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
    assert_eq!((found.tools.len(), found.errors.len()), (5 * 8, 0));
    assert_eq!(lab.mcp.requests("tools/list").len(), asked + 2, "known tools are not requested again");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_servers_are_asked_at_once_than_are_allowed() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().with_parallel_servers(1).build();
    all_tools(&gateway, &Principal::System).await;
    let lists = lab.mcp.requests("tools/list");
    let order: Vec<_> = lists.iter().map(|list| list["server"].as_str().unwrap()).collect();
    assert_eq!(order, SERVERS, "one after the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_skips_unwanted_servers_and_tools() {
    let Some(lab) = Lab::open() else { return };
    let gateway = lab.builder().build();
    let filter = ToolFilter::new().with_ord_id("stock").with_ord_id("people").with_name("add").with_name("many");
    let found = gateway.list_tools(&Principal::System, &filter).await.unwrap();
    let names: Vec<_> = found.tools.iter().map(|tool| (tool.server().ord_id(), tool.name())).collect();
    assert_eq!(names, [("stock", "add"), ("stock", "many"), ("people", "add"), ("people", "many")]);
    let asked = lab.mcp.requests("initialize");
    assert!(asked.iter().all(|request| request["server"] == "stock" || request["server"] == "people"), "{asked:?}");

    let unknown = ToolFilter::new().with_ord_id("stocks");
    let error = gateway.list_tools(&Principal::System, &unknown).await.unwrap_err();
    assert!(error.to_string().contains("`stocks`"), "an empty list would hide the mistake: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_tools_expire_or_are_invalidated() {
    let Some(lab) = Lab::open() else { return };
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let gateway = lab.builder().with_clock(clock.clone()).with_tool_lifetime(Duration::from_secs(60)).build();
    let filter = ToolFilter::new().with_ord_id("orders");
    let (system, alice) = (Principal::System, lab.user("alice"));
    let asked = || lab.mcp.requests("tools/list").len();
    let list = async |principal: &Principal| gateway.list_tools(principal, &filter).strict().await.unwrap();
    let found = list(&system).await;
    list(&system).await;
    assert_eq!(asked(), 1);
    list(&alice).await;
    assert_eq!(asked(), 2, "another principal may have other tools");
    clock.advance(Duration::from_secs(61));
    list(&system).await;
    assert_eq!(asked(), 3);
    gateway.evict();
    list(&system).await;
    assert_eq!(asked(), 4);

    let trick = object(json!({ "trick": "juggle" }));
    gateway.call_tool(tool(&found, "orders", "learn"), &system, trick).await.unwrap();
    let learnt = async {
        while !list(&system).await.tools.iter().any(|tool| tool.name() == "juggle") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), learnt).await.unwrap();
    assert_eq!(asked(), 5);
}
