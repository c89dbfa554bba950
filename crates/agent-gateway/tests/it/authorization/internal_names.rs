//! Authorization servers whose names resolve to internal addresses, in a network namespace with public and internal addresses.

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
use crate::destinations::causes;
use crate::destinations::double::{Got, serve};
use crate::needs;

/// Set in the process in the namespace.
const CHILD: &str = "AGENT_GATEWAY_TEST_NETWORK";
/// An address for documentation (RFC 5737), which is not internal.
const PUBLIC: &str = "203.0.113.7";
const METADATA: &str = "/.well-known/oauth-authorization-server";
const INTERNAL: [&str; 4] = ["127.0.0.1", "10.0.0.5", "169.254.169.254", "fd00::5"];

/// Resolves each name to the next of its address lists, and then always to the last one.
#[derive(Debug)]
struct Names(Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let lists = names.get_mut(host).ok_or(io::ErrorKind::NotFound)?;
        Ok(if lists.len() > 1 { lists.remove(0) } else { lists[0].clone() })
    }
}

/// The addresses of a name, one list for each resolution.
fn lists(lists: &[&[&str]]) -> Vec<Vec<IpAddr>> {
    lists.iter().map(|list| list.iter().map(|address| address.parse().unwrap()).collect()).collect()
}

/// A server at `address`, and its authorization server, whose names are resolved as given.
struct Site {
    port: u16,
    got: Arc<Mutex<Vec<(String, String)>>>,
    authority: Authority,
}

impl Site {
    async fn start(address: &str) -> Self {
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (got, authority) = (Arc::new(Mutex::new(Vec::new())), Authority::new());
        let recorded = got.clone();
        serve(listener, &authority, move |got: &Got| {
            recorded.lock().unwrap().push((got.host.split('.').next().unwrap().to_owned(), got.path.clone()));
            respond(got)
        });
        Self { port, got, authority }
    }

    fn url(&self, name: &str) -> String {
        format!("https://{name}.auth.test:{}", self.port)
    }

    /// Returns a gateway for which the server, the authorization server and its endpoints have these addresses.
    fn gateway(&self, mcp: &[&[&str]], issuer: &[&str], login: &[&str]) -> Gateway {
        let names = [
            ("mcp.auth.test", lists(mcp)),
            ("issuer.auth.test", lists(&[issuer])),
            ("login.auth.test", lists(&[login])),
        ];
        let names = HashMap::from(names);
        let http = HttpClient::builder().with_root_certificates(self.authority.file());
        let server: Url = self.url("mcp").parse().unwrap();
        let authorization = McpAuthorization::headless()
            .with_client(ClientRegistration::new(self.url("issuer"), "client"))
            .with_refresh_token(server.clone(), self.url("issuer"), Secret::new("canary-refresh-token"));
        Gateway::builder(authorization, vec![Server::new(server, "orders")])
            .with_http(http.with_resolver(Arc::new(Names(Mutex::new(names)))))
            .build()
    }

    /// Returns the paths of the requests to the authorization server, and forgets all requests.
    fn take(&self) -> Vec<String> {
        let got = std::mem::take(&mut *self.got.lock().unwrap());
        got.into_iter().filter(|(to, _)| to != "mcp").map(|(_, path)| path).collect()
    }
}

fn respond(got: &Got) -> (u16, Value) {
    let base = format!("https://{}", got.host);
    let (issuer, login) = (base.replace("//mcp.", "//issuer."), base.replace("//issuer.", "//login."));
    match got.path.as_str() {
        "/.well-known/oauth-protected-resource" => {
            (200, json!({ "resource": base, "authorization_servers": [issuer] }))
        }
        METADATA => (
            200,
            json!({
                "issuer": base, "authorization_endpoint": format!("{login}/authorize"),
                "token_endpoint": format!("{login}/redeem"), "code_challenge_methods_supported": ["S256"],
            }),
        ),
        "/redeem" => (200, json!({ "access_token": "canary-token", "token_type": "Bearer", "expires_in": 3600 })),
        _ if got.headers.contains_key("authorization") => (418, json!({})),
        _ => (401, json!({})),
    }
}

#[test]
fn internal_authorization_server_of_a_public_server_gets_nothing() {
    const TEST: &str = "authorization::internal_names::internal_authorization_server_of_a_public_server_gets_nothing";
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(in_namespace());
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
    let addresses = INTERNAL[1..].iter().chain([&PUBLIC]).map(|address| format!("ip addr add {address} dev lo\n"));
    let script = format!(
        "set -e\nPATH=$PATH:/usr/sbin:/sbin\n{}ip link set lo up\nexec \"$0\" \"$@\"",
        addresses.collect::<String>()
    );
    let mut command = unshare();
    command.args(["sh", "-c", &script]).arg(std::env::current_exe().unwrap()).args([TEST, "--exact", "--nocapture"]);
    let output = command.env(CHILD, "1").output().unwrap();
    let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

async fn in_namespace() {
    let site = Site::start(PUBLIC).await;
    let listeners = INTERNAL.map(|address| {
        let listener = TcpListener::bind((address, site.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    });
    // All names are public: the token reaches the server, which responds with 418.
    let error = list_error(&site.gateway(&[&[PUBLIC]], &[PUBLIC], &[PUBLIC])).await;
    assert_eq!(error.status(), Some(418), "{error:?}");
    assert_eq!(site.take(), [METADATA, "/redeem"]);
    // An internal address is left out, and the public one is used.
    let error = list_error(&site.gateway(&[&[PUBLIC]], &["10.0.0.5", PUBLIC], &[PUBLIC, "127.0.0.1"])).await;
    assert_eq!(error.status(), Some(418), "{error:?}");
    assert_eq!(site.take(), [METADATA, "/redeem"]);
    for address in INTERNAL {
        let refused = async |gateway: Gateway, name: &str, seen: &[&str]| {
            let error = list_error(&gateway).await;
            let cause = error.authorization_error().unwrap();
            assert!(cause.is_hostile(), "{address}: {error:?}");
            assert!(causes(cause).contains(&site.url(name)), "{address}: {}", causes(cause));
            assert_eq!(site.take(), seen, "{address}");
        };
        refused(site.gateway(&[&[PUBLIC]], &[address], &[address]), "issuer", &[]).await;
        refused(site.gateway(&[&[PUBLIC]], &[PUBLIC], &[address]), "login", &[METADATA]).await;
        // The server cannot pass as an internal one: the address of its connection decides.
        refused(site.gateway(&[&[PUBLIC], &[address]], &[address], &[address]), "mcp", &[]).await;
    }
    for listener in &listeners {
        assert!(listener.accept().is_err(), "an internal address got a connection");
    }
    // A server that is internal itself may have an internal authorization server.
    let internal = Site::start("10.0.0.5").await;
    let error = list_error(&internal.gateway(&[&["10.0.0.5"]], &["10.0.0.5"], &["10.0.0.5"])).await;
    assert_eq!(error.status(), Some(418), "{error:?}");
    assert_eq!(internal.take(), [METADATA, "/redeem"]);
}
