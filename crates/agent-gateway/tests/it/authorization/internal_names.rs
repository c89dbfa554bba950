//! Authorization servers whose names resolve to internal addresses.
//!
//! The tests run in a network namespace that has public and internal addresses.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};

use agent_gateway::{ClientRegistration, Gateway, McpAuthorization, Server};
use async_trait::async_trait;
use auth_core::Secret;
use auth_http::{HttpClient, Resolver};
use serde_json::{Value, json};
use url::Url;

use super::list_error;
use crate::authority::Authority;
use crate::destinations::error_chain;
use crate::destinations::service_double::{ServiceRequest, serve};
use crate::needs;

/// This variable is set in the process that runs in the namespace.
const CHILD_VARIABLE: &str = "AGENT_GATEWAY_TEST_NETWORK";
/// An address for documentation (RFC 5737). It is not internal.
const PUBLIC_ADDRESS: &str = "203.0.113.7";
const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
const INTERNAL_ADDRESSES: [&str; 4] = ["127.0.0.1", "10.0.0.5", "169.254.169.254", "fd00::5"];

/// Resolves each name to the next of its address lists. The last list is used for all later resolutions.
#[derive(Debug)]
struct ScriptedResolver(Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>);

#[async_trait]
impl Resolver for ScriptedResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let lists = names.get_mut(host).ok_or(io::ErrorKind::NotFound)?;
        Ok(if lists.len() > 1 { lists.remove(0) } else { lists[0].clone() })
    }
}

/// Returns the addresses of a name, one list for each resolution.
fn address_lists(lists: &[&[&str]]) -> Vec<Vec<IpAddr>> {
    lists.iter().map(|list| list.iter().map(|address| address.parse().unwrap()).collect()).collect()
}

/// An MCP server and its authorization server, at one address.
struct ServerPair {
    port: u16,
    /// The first label of the host and the path of each request.
    requests: Arc<Mutex<Vec<(String, String)>>>,
    authority: Authority,
}

impl ServerPair {
    /// Starts the servers at `address`.
    async fn start(address: &str) -> Self {
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, authority) = (Arc::new(Mutex::new(Vec::new())), Authority::new());
        let recorded = requests.clone();
        serve(listener, &authority, move |request: &ServiceRequest| {
            let host_label = request.host.split('.').next().unwrap().to_owned();
            recorded.lock().unwrap().push((host_label, request.path.clone()));
            respond(request)
        });
        Self { port, requests, authority }
    }

    fn url(&self, name: &str) -> String {
        format!("https://{name}.auth.test:{}", self.port)
    }

    /// Returns a gateway that resolves the MCP server, the authorization server and its endpoints to these addresses.
    fn gateway(&self, mcp: &[&[&str]], issuer: &[&str], login: &[&str]) -> Gateway {
        let names = [
            ("mcp.auth.test", address_lists(mcp)),
            ("issuer.auth.test", address_lists(&[issuer])),
            ("login.auth.test", address_lists(&[login])),
        ];
        let resolver = ScriptedResolver(Mutex::new(HashMap::from(names)));
        let http = HttpClient::builder().with_root_certificates(self.authority.file());
        let server: Url = self.url("mcp").parse().unwrap();
        let authorization = McpAuthorization::headless()
            .with_client(ClientRegistration::new(self.url("issuer"), "client"))
            .with_refresh_token(server.clone(), self.url("issuer"), Secret::new("canary-refresh-token"));
        Gateway::builder(authorization, vec![Server::new(server, "orders")])
            .with_http(http.with_resolver(Arc::new(resolver)))
            .build()
    }

    /// Returns the paths of the requests to the authorization server, and removes all recorded requests.
    fn take_issuer_paths(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        requests.into_iter().filter(|(host_label, _)| host_label != "mcp").map(|(_, path)| path).collect()
    }
}

/// Returns the response to a request, depending on its host and path.
fn respond(request: &ServiceRequest) -> (u16, Value) {
    let base = format!("https://{}", request.host);
    let (issuer, login) = (base.replace("//mcp.", "//issuer."), base.replace("//issuer.", "//login."));
    match request.path.as_str() {
        "/.well-known/oauth-protected-resource" => {
            (200, json!({ "resource": base, "authorization_servers": [issuer] }))
        }
        METADATA_PATH => (
            200,
            json!({
                "issuer": base, "authorization_endpoint": format!("{login}/authorize"),
                "token_endpoint": format!("{login}/redeem"), "code_challenge_methods_supported": ["S256"],
            }),
        ),
        "/redeem" => (200, json!({ "access_token": "canary-token", "token_type": "Bearer", "expires_in": 3600 })),
        _ if request.headers.contains_key("authorization") => (418, json!({})),
        _ => (401, json!({})),
    }
}

#[test]
fn internal_authorization_server_of_a_public_server_gets_nothing() {
    const TEST: &str = "authorization::internal_names::internal_authorization_server_of_a_public_server_gets_nothing";
    if std::env::var_os(CHILD_VARIABLE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(check_in_namespace());
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]);
        command
    };
    if !needs::has("unshare") || !unshare().arg("true").output().is_ok_and(|output| output.status.success()) {
        return needs::missing("a network namespace", "allow unprivileged user namespaces (`unshare` uses them)");
    }
    if !["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].iter().any(|program| std::path::Path::new(program).is_file()) {
        return needs::missing("ip", "apt-get install iproute2");
    }
    let addresses = INTERNAL_ADDRESSES[1..]
        .iter()
        .chain([&PUBLIC_ADDRESS])
        .map(|address| format!("ip addr add {address} dev lo\n"));
    let script = format!(
        "set -e\nPATH=$PATH:/usr/sbin:/sbin\n{}ip link set lo up\nexec \"$0\" \"$@\"",
        addresses.collect::<String>()
    );
    let mut command = unshare();
    command.args(["sh", "-c", &script]).arg(std::env::current_exe().unwrap()).args([TEST, "--exact", "--nocapture"]);
    let output = command.env(CHILD_VARIABLE, "1").output().unwrap();
    let output_text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && output_text.contains("1 passed"), "{output_text}");
}

/// Checks all combinations of addresses. Runs in the namespace.
async fn check_in_namespace() {
    let servers = ServerPair::start(PUBLIC_ADDRESS).await;
    let listeners = INTERNAL_ADDRESSES.map(|address| {
        let listener = TcpListener::bind((address, servers.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    });
    // All addresses are public, so the token reaches the server, which responds with 418.
    let error = list_error(&servers.gateway(&[&[PUBLIC_ADDRESS]], &[PUBLIC_ADDRESS], &[PUBLIC_ADDRESS])).await;
    assert_eq!(error.status(), Some(418), "{error:?}");
    assert_eq!(servers.take_issuer_paths(), [METADATA_PATH, "/redeem"]);
    // Of an internal and a public address, only the public one is used.
    let error = list_error(&servers.gateway(
        &[&[PUBLIC_ADDRESS]],
        &["10.0.0.5", PUBLIC_ADDRESS],
        &[PUBLIC_ADDRESS, "127.0.0.1"],
    ))
    .await;
    assert_eq!(error.status(), Some(418), "{error:?}");
    assert_eq!(servers.take_issuer_paths(), [METADATA_PATH, "/redeem"]);
    for address in INTERNAL_ADDRESSES {
        let assert_refused = async |gateway: Gateway, name: &str, paths: &[&str]| {
            let error = list_error(&gateway).await;
            let cause = error.authorization_error().unwrap();
            assert!(cause.is_hostile(), "{address}: {error:?}");
            assert!(error_chain(cause).contains(&servers.url(name)), "{address}: {}", error_chain(cause));
            assert_eq!(servers.take_issuer_paths(), paths, "{address}");
        };
        assert_refused(servers.gateway(&[&[PUBLIC_ADDRESS]], &[address], &[address]), "issuer", &[]).await;
        assert_refused(servers.gateway(&[&[PUBLIC_ADDRESS]], &[PUBLIC_ADDRESS], &[address]), "login", &[METADATA_PATH])
            .await;
        // A server cannot become internal by a second resolution, because the address of its connection decides.
        assert_refused(servers.gateway(&[&[PUBLIC_ADDRESS], &[address]], &[address], &[address]), "mcp", &[]).await;
    }
    for listener in &listeners {
        assert!(listener.accept().is_err(), "an internal address got a connection");
    }
    // An internal server may have an internal authorization server.
    let internal_servers = ServerPair::start("10.0.0.5").await;
    let error = list_error(&internal_servers.gateway(&[&["10.0.0.5"]], &["10.0.0.5"], &["10.0.0.5"])).await;
    assert_eq!(error.status(), Some(418), "{error:?}");
    assert_eq!(internal_servers.take_issuer_paths(), [METADATA_PATH, "/redeem"]);
}
