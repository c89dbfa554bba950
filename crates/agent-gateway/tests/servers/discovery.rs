//! Listing the tools of several servers.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::ManualClock;
use agent_gateway::{Gateway, Principal, Server, ToolFilter};
use auth_http::HttpClient;
use serde_json::json;
use tokio::net::TcpListener;

use crate::test_bed::{SERVERS, TestBed, all_tools, object, tool};

/// Returns a server at a port without a listener.
async fn unreachable_server(name: &str) -> Server {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    Server::behind(&format!("https://localhost:{port}").parse().unwrap(), name, "tenant-1").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_server_is_reported_and_others_are_listed() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway: url::Url = format!("https://localhost:{}", test_bed.mcp.port).parse().unwrap();
    let mut servers: Vec<_> = SERVERS.map(|name| Server::behind(&gateway, name, "tenant-1").unwrap()).into();
    servers[2] = unreachable_server("people").await;
    let http = HttpClient::builder().with_root_certificates(test_bed.server_authority.file());
    let gateway = Gateway::builder(test_bed.binding(), servers.clone()).with_http(http).build();
    let reachable_servers: Vec<_> = SERVERS.into_iter().filter(|name| *name != "people").collect();
    // Each server delays its response until all have received a request, so sequential requests would time out.
    test_bed.mcp.wait_together(reachable_servers.len());

    let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
    assert_eq!(listing.tools.len(), 4 * 8);
    assert!(reachable_servers.iter().all(|name| listing.tools.iter().any(|tool| tool.server().ord_id() == *name)));
    assert_eq!(listing.errors.len(), 1);
    assert_eq!(listing.errors[0].server(), Some(&servers[2]));
    assert!(listing.errors[0].is_connect(), "{:?}", listing.errors);
    assert!(listing.errors[0].to_string().contains("`people` of the tenant `tenant-1`"), "{}", listing.errors[0]);

    let error = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap_err();
    assert_eq!(error.server(), Some(&servers[2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_server_is_reported_with_its_status_or_timeout() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let gateway = test_bed.builder().with_discovery_timeout(Duration::from_secs(20)).build();
    test_bed.mcp.fail_servers(&[("stock", 503), ("ledger", 0)]);
    let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
    assert_eq!(listing.tools.len(), 3 * 8);
    let [stock, ledger] = &listing.errors[..] else { panic!("{:?}", listing.errors) };
    assert_eq!((stock.server().unwrap().ord_id(), stock.status()), ("stock", Some(503)));
    assert!(ledger.server().unwrap().ord_id() == "ledger" && ledger.is_timeout(), "{ledger:?}");

    test_bed.mcp.fail_servers(&[]);
    let request_count = test_bed.mcp.requests("tools/list").len();
    let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
    assert_eq!((listing.tools.len(), listing.errors.len()), (5 * 8, 0));
    assert_eq!(test_bed.mcp.requests("tools/list").len(), request_count + 2, "cached tools are not requested again");
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_concurrent_requests_is_limited() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().with_parallel_servers(1).build();
    all_tools(&gateway, &Principal::System).await;
    let lists = test_bed.mcp.requests("tools/list");
    let order: Vec<_> = lists.iter().map(|list| list["server"].as_str().unwrap()).collect();
    assert_eq!(order, SERVERS, "the servers are queried one after the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_skips_unwanted_servers_and_tools() {
    let Some(test_bed) = TestBed::open() else { return };
    let gateway = test_bed.builder().build();
    let filter = ToolFilter::new().with_ord_id("stock").with_ord_id("people").with_name("add").with_name("many");
    let listing = gateway.list_tools(&Principal::System, &filter).await.unwrap();
    let names: Vec<_> = listing.tools.iter().map(|tool| (tool.server().ord_id(), tool.name())).collect();
    assert_eq!(names, [("stock", "add"), ("stock", "many"), ("people", "add"), ("people", "many")]);
    let requests = test_bed.mcp.requests("server/discover");
    assert!(
        requests.iter().all(|request| request["server"] == "stock" || request["server"] == "people"),
        "{requests:?}"
    );

    let unknown = ToolFilter::new().with_ord_id("stocks");
    let error = gateway.list_tools(&Principal::System, &unknown).await.unwrap_err();
    assert!(error.to_string().contains("`stocks`"), "the error does not name the unknown id: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_tools_expire_or_are_invalidated() {
    let Some(test_bed) = TestBed::with_sessions() else { return };
    let clock = Arc::new(ManualClock::start());
    let gateway = test_bed.builder().with_clock(clock.clone()).with_tool_lifetime(Duration::from_secs(60)).build();
    let filter = ToolFilter::new().with_ord_id("orders");
    let (system, alice) = (Principal::System, test_bed.user("alice"));
    let request_count = || test_bed.mcp.requests("tools/list").len();
    let list = async |principal: &Principal| gateway.list_tools(principal, &filter).strict().await.unwrap();
    let listing = list(&system).await;
    list(&system).await;
    assert_eq!(request_count(), 1);
    list(&alice).await;
    assert_eq!(request_count(), 2, "another principal may have other tools");
    clock.advance(Duration::from_secs(61));
    list(&system).await;
    assert_eq!(request_count(), 3);
    gateway.evict();
    list(&system).await;
    assert_eq!(request_count(), 4);

    let trick = object(json!({ "trick": "juggle" }));
    gateway.call_tool(tool(&listing, "orders", "learn"), &system, trick).await.unwrap();
    let until_tool_is_listed = async {
        while !list(&system).await.tools.iter().any(|tool| tool.name() == "juggle") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), until_tool_is_listed).await.unwrap();
    assert_eq!(request_count(), 5);
}
