//! Fragments of a tenant that name another origin than that of the gateway.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use agent_gateway::{AgentFilter, GatewayError, ToolFilter};
use auth_core::Authority;
use serde_json::json;
use url::Url;

use super::causes;
use super::double::{Double, Got, of, system_of, user_of};

/// Returns the URLs of a gateway with one part of the origin changed: the scheme, the host and the port.
fn foreign(gateway: &Url, port: u16) -> [Url; 3] {
    let (mut scheme, mut host) = (gateway.clone(), gateway.clone());
    scheme.set_scheme("https").unwrap();
    host.set_host(Some("localhost")).unwrap();
    host.set_port(Some(port)).unwrap();
    let mut other = gateway.clone();
    other.set_port(Some(port)).unwrap();
    [scheme, host, other]
}

/// Returns a double whose fragments of one kind name a URL, which is set later: those of servers and agents, or those of the
/// gateway.
async fn hostile(is_gateway: bool) -> (Double, Arc<OnceLock<Url>>) {
    let named = Arc::new(OnceLock::<Url>::new());
    let url = named.clone();
    let instead = move |got: &Got| {
        if !is_gateway {
            let url = url.get()?.join("/v1/mcp/orders/acme").unwrap();
            let entry = json!([{ "FragmentName": "evil", "URL": url }]);
            return got.label().filter(|label| label.starts_with("agw.")).map(|_| (200, entry));
        }
        // The properties of the fragment take priority. The destination alone is as usual.
        got.headers.get("x-fragment-name").filter(|_| got.path.contains("/v2/")).map(|_| {
            let token = json!([{ "type": "Bearer", "http_header": { "value": "Bearer canary" }, "expires_in": 3600 }]);
            (200, json!({ "destinationConfiguration": { "URL": url.get() }, "authTokens": token }))
        })
    };
    (Double::with(Arc::new(instead)).await, named)
}

/// Returns a listener that must get no connection, and its port.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Returns the number of requests to servers and agents at the origin of the gateway.
fn sent(double: &Double) -> usize {
    ["server/discover", "initialize", "tools/list", "GET"].map(|method| double.gateway.count(method)).iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_or_agent_at_another_origin_gets_nothing() {
    let (listener, port) = listener();
    for part in 0..3 {
        let (double, named) = hostile(false).await;
        let foreign = foreign(&double.gateway.url(), port)[part].clone();
        named.set(foreign.clone()).unwrap();
        let gateway = double.builder().build();
        for principal in [system_of("acme"), user_of("alice", "acme")] {
            let found = gateway.list_tools(&principal, &ToolFilter::new()).await.unwrap();
            let [error] = &found.errors[..] else { panic!("{found:?}") };
            assert!(error.is_foreign_origin() && found.tools.is_empty(), "{error:?}");
            let text = causes(error);
            let origins = [&foreign, &double.gateway.url()].map(|url| Authority::of(url).to_string());
            assert!(origins.iter().all(|origin| text.contains(origin)), "{text}");
            assert!(text.contains("the server `orders` in the fragment `evil` of the tenant `acme`"), "{text}");
            let agents = gateway.list_agents(&principal, &AgentFilter::new()).await.unwrap();
            assert_eq!((agents.agents.len(), agents.errors.len()), (0, 1), "{agents:?}");
            assert!(causes(&agents.errors[0]).contains(&origins[0]), "{agents:?}");
        }
        assert!(double.got_at("/v2/").iter().all(|got| !got.query.is_empty()), "no token was obtained");
        assert_eq!(sent(&double), 0);
    }
    assert!(listener.accept().is_err(), "a request was sent to another origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn fragment_cannot_change_the_origin_of_the_gateway() {
    let (listener, port) = listener();
    for part in 0..3 {
        let (double, named) = hostile(true).await;
        let foreign = foreign(&double.gateway.url(), port)[part].clone();
        named.set(foreign.clone()).unwrap();
        let gateway = double.builder().build();
        for principal in [system_of("acme"), user_of("alice", "acme")] {
            let error = gateway.token_for(&principal).await.unwrap_err();
            assert!(error.is_foreign_origin() && error.is_token_error(), "{error:?}");
            let text = causes(&error);
            for origin in [Authority::of(&foreign), Authority::of(&double.gateway.url())] {
                assert!(text.contains(&origin.to_string()), "{text}");
            }
            assert!(text.contains("the gateway in the fragment `acme-"), "{text}");
            // The servers themselves are at the origin of the gateway, but there is no token for them.
            let found = gateway.list_tools(&principal, &ToolFilter::new()).await.unwrap();
            assert!(found.tools.is_empty() && found.errors.iter().all(GatewayError::is_foreign_origin), "{found:?}");
        }
        assert_eq!(sent(&double), 0);
        // The program can permit the origin.
        let gateway = of(double.destinations().with_origin(&foreign)).build();
        let token = gateway.token_for(&system_of("acme")).await.unwrap();
        assert_eq!(token.gateway_url(), Some(&foreign));
    }
    assert!(listener.accept().is_err(), "a request was sent to another origin");
}
