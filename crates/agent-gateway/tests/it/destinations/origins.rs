//! Fragments of a tenant with URLs at another origin than the gateway.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use agent_gateway::{AgentFilter, GatewayError, ToolFilter};
use auth_core::Authority;
use serde_json::json;
use url::Url;

use super::error_chain;
use super::service_double::{Double, ServiceRequest, builder_for, system_of, user_of};

/// Returns three URLs at other origins than the gateway: with another scheme, with another host and port, and with
/// another port.
fn foreign_urls(gateway: &Url, port: u16) -> [Url; 3] {
    let [mut other_scheme, mut other_host, mut other_port] = [gateway; 3].map(Url::clone);
    other_scheme.set_scheme("https").unwrap();
    other_host.set_host(Some("localhost")).unwrap();
    other_host.set_port(Some(port)).unwrap();
    other_port.set_port(Some(port)).unwrap();
    [other_scheme, other_host, other_port]
}

/// Starts a double with fragments whose URL the test sets later: the fragments of the gateway, or those of servers and
/// agents.
async fn double_with_fragment_url(is_gateway: bool) -> (Double, Arc<OnceLock<Url>>) {
    let fragment_url = Arc::new(OnceLock::<Url>::new());
    let url = fragment_url.clone();
    let response_override = move |request: &ServiceRequest| {
        if !is_gateway {
            let url = url.get()?.join("/v1/mcp/orders/acme").unwrap();
            let entry = json!([{ "FragmentName": "evil", "URL": url }]);
            return request.label().filter(|label| label.starts_with("agw.")).map(|_| (200, entry));
        }
        // The fragment overrides the URL of the destination. Without a fragment, the destination has its default URL.
        request.headers.get("x-fragment-name").filter(|_| request.path.contains("/v2/")).map(|_| {
            let token = json!([{ "type": "Bearer", "http_header": { "value": "Bearer canary" }, "expires_in": 3600 }]);
            (200, json!({ "destinationConfiguration": { "URL": url.get() }, "authTokens": token }))
        })
    };
    (Double::with_override(Arc::new(response_override)).await, fragment_url)
}

/// Returns a listener that must get no connection, and its port.
fn unused_listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Returns the number of requests to servers and agents at the origin of the gateway.
fn gateway_request_count(double: &Double) -> usize {
    ["server/discover", "initialize", "tools/list", "GET"].map(|method| double.gateway.count(method)).iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_or_agent_at_another_origin_gets_nothing() {
    let (listener, port) = unused_listener();
    for index in 0..3 {
        let (double, fragment_url) = double_with_fragment_url(false).await;
        let foreign_url = foreign_urls(&double.gateway.url(), port)[index].clone();
        fragment_url.set(foreign_url.clone()).unwrap();
        let gateway = double.builder().build();
        for principal in [system_of("acme"), user_of("alice", "acme")] {
            let listing = gateway.list_tools(&principal, &ToolFilter::new()).await.unwrap();
            let [error] = &listing.errors[..] else { panic!("{listing:?}") };
            assert!(error.is_foreign_origin() && listing.tools.is_empty(), "{error:?}");
            let text = error_chain(error);
            let origins = [&foreign_url, &double.gateway.url()].map(|url| Authority::of(url).to_string());
            assert!(origins.iter().all(|origin| text.contains(origin)), "{text}");
            assert!(text.contains("the server `orders` in the fragment `evil` of the tenant `acme`"), "{text}");
            let agent_listing = gateway.list_agents(&principal, &AgentFilter::new()).await.unwrap();
            assert_eq!((agent_listing.agents.len(), agent_listing.errors.len()), (0, 1), "{agent_listing:?}");
            assert!(error_chain(&agent_listing.errors[0]).contains(&origins[0]), "{agent_listing:?}");
        }
        assert!(double.requests_to("/v2/").iter().all(|request| !request.query.is_empty()), "no token was obtained");
        assert_eq!(gateway_request_count(&double), 0);
    }
    assert!(listener.accept().is_err(), "a request was sent to another origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn fragment_cannot_change_the_origin_of_the_gateway() {
    let (listener, port) = unused_listener();
    for index in 0..3 {
        let (double, fragment_url) = double_with_fragment_url(true).await;
        let foreign_url = foreign_urls(&double.gateway.url(), port)[index].clone();
        fragment_url.set(foreign_url.clone()).unwrap();
        let gateway = double.builder().build();
        for principal in [system_of("acme"), user_of("alice", "acme")] {
            let error = gateway.token_for(&principal).await.unwrap_err();
            assert!(error.is_foreign_origin() && error.is_token_error(), "{error:?}");
            let text = error_chain(&error);
            for origin in [Authority::of(&foreign_url), Authority::of(&double.gateway.url())] {
                assert!(text.contains(&origin.to_string()), "{text}");
            }
            assert!(text.contains("the gateway in the fragment `acme-"), "{text}");
            // The servers are at the origin of the gateway, but no token can be obtained for them.
            let listing = gateway.list_tools(&principal, &ToolFilter::new()).await.unwrap();
            assert!(
                listing.tools.is_empty() && listing.errors.iter().all(GatewayError::is_foreign_origin),
                "{listing:?}"
            );
        }
        assert_eq!(gateway_request_count(&double), 0);
        // The application can permit the origin.
        let gateway = builder_for(double.destinations().with_origin(&foreign_url)).build();
        let token = gateway.token_for(&system_of("acme")).await.unwrap();
        assert_eq!(token.gateway_url(), Some(&foreign_url));
    }
    assert!(listener.accept().is_err(), "a request was sent to another origin");
}
