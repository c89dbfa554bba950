//! The Destination service with its authorization server, over TLS, and an MCP server and A2A agents behind a gateway.
//!
//! Tokens are named after the tenant and the principal that they are for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use agent_gateway::{Destinations, Gateway, GatewayBuilder, Principal, Tenant};
use async_trait::async_trait;
use auth_http::{HttpClient, HttpClientBuilder, Resolver};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use url::Url;

use crate::authority::Authority;
use crate::fake_server::{FakeServer, user, with_sessions};
use crate::server::{ReceivedRequest, Reply};

/// A request to the service.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) form: HashMap<String, String>,
}

/// The double, whose responses a test may replace.
pub(crate) struct Double {
    pub(crate) port: u16,
    pub(crate) gateway: FakeServer,
    got: Arc<Mutex<Vec<Got>>>,
    authority: Authority,
}

/// Returns a response instead of the usual one.
pub(crate) type Instead = Arc<dyn Fn(&Got) -> Option<(u16, Value)> + Send + Sync>;

impl Got {
    pub(crate) fn is_token(&self) -> bool {
        self.path == "/oauth/token"
    }

    /// Returns the tenant in the token of the request.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.headers.get("authorization")?.strip_prefix("Bearer service-")?.split('-').next()
    }

    pub(crate) fn label(&self) -> Option<&str> {
        self.query.get("$filter")?.strip_prefix("Label['sap-managed-runtime-type'] HAS ('")?.strip_suffix("')")
    }
}

impl Double {
    pub(crate) async fn start() -> Self {
        Self::with(Arc::new(|_: &Got| None)).await
    }

    pub(crate) async fn with(instead: Instead) -> Self {
        let (gateway, authority) = (FakeServer::start(behind_gateway), Authority::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (got, url) = (Arc::new(Mutex::new(Vec::new())), gateway.url());
        let recorded = got.clone();
        serve(listener, &authority, move |got| {
            let mut recorded = recorded.lock().unwrap();
            recorded.push(got.clone());
            instead(got).unwrap_or_else(|| usual(got, recorded.len(), &url))
        });
        Self { port, gateway, got, authority }
    }

    pub(crate) fn auth_url(&self) -> Url {
        format!("https://zone.auth.test:{}", self.port).parse().unwrap()
    }

    pub(crate) fn service_url(&self) -> Url {
        format!("https://destinations.auth.test:{}", self.port).parse().unwrap()
    }

    pub(crate) fn http(&self) -> HttpClientBuilder {
        HttpClient::builder().with_root_certificates(self.authority.file()).with_resolver(Arc::new(Loopback))
    }

    pub(crate) fn binding(&self) -> agent_gateway::DestinationBinding {
        let secret = auth_core::Secret::new("canary-secret");
        agent_gateway::DestinationBinding::new(self.service_url(), self.auth_url(), "zone", "client-1", secret)
    }

    pub(crate) fn destinations(&self) -> Destinations {
        Destinations::new(self.binding(), "ias-test").with_http(self.http()).with_plain_loopback()
    }

    pub(crate) fn builder(&self) -> GatewayBuilder {
        of(self.destinations())
    }

    /// Returns the requests to the service so far.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Returns the requests whose path contains this text.
    pub(crate) fn got_at(&self, path: &str) -> Vec<Got> {
        self.got().into_iter().filter(|got| got.path.contains(path)).collect()
    }
}

pub(crate) fn of(destinations: Destinations) -> GatewayBuilder {
    Gateway::builder(destinations.clone(), destinations).with_plain_loopback()
}

pub(crate) fn system_of(tenant: &str) -> Principal {
    Principal::System.with_tenant(Tenant::new(tenant).unwrap())
}

pub(crate) fn user_of(name: &str, tenant: &str) -> Principal {
    user(name).with_tenant(Tenant::new(tenant).unwrap())
}

/// Resolves all names to this machine.
#[derive(Debug)]
struct Loopback;

#[async_trait]
impl Resolver for Loopback {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
}

/// Returns the response of the service to a request, of which there were `number` with this one.
fn usual(got: &Got, number: usize, gateway: &Url) -> (u16, Value) {
    if got.is_token() {
        let tenant = got.host.split('.').next().unwrap();
        return (
            200,
            json!({ "access_token": format!("service-{tenant}-{number}"), "expires_in": 3600, "token_type": "bearer" }),
        );
    }
    let Some(tenant) = got.tenant() else { return (401, json!({})) };
    if let Some(label) = got.label() {
        return (200, fragments(tenant, label, gateway));
    }
    if got.path != "/destination-configuration/v2/destinations/ias-test@provider_subaccount" {
        return (404, json!({}));
    }
    let fragment = got.headers.get("x-fragment-name").map(String::as_str);
    let user = got.headers.get("x-user-token").map_or("system", |token| token.strip_prefix("assertion-of-").unwrap());
    let kind = if user == "system" { "system" } else { "user" };
    let is_without_token = got.query.contains_key("$skipTokenRetrieval");
    if !is_without_token && fragment != Some(&format!("{tenant}-{kind}@instance")) {
        return (400, json!({}));
    }
    let mut found = json!({ "destinationConfiguration": { "Name": "ias-test", "Type": "HTTP", "URL": gateway } });
    if !is_without_token {
        let header = json!({ "key": "Authorization", "value": format!("Bearer token-{tenant}-{user}") });
        found["authTokens"] =
            json!([{ "type": "Bearer", "value": "canary", "http_header": header, "expires_in": "3600" }]);
    }
    (200, found)
}

fn fragments(tenant: &str, label: &str, gateway: &Url) -> Value {
    let url = |kind: &str, id: &str| gateway.join(&format!("/v1/{kind}/{id}-{tenant}/{tenant}-gtid")).unwrap();
    match label {
        "agw.mcp.server" => json!([{ "FragmentName": format!("{tenant}-orders"), "URL": url("mcp", "orders") }]),
        "agw.a2a.server" => json!([{ "FragmentName": format!("{tenant}-agent"), "url": url("a2a", "agent") }]),
        "subscriber.ias" => json!([{ "FragmentName": format!("{tenant}-system") }]),
        "subscriber.ias.user" => json!([{ "FragmentName": format!("{tenant}-user") }]),
        _ => json!([]),
    }
}

/// Returns the response of a server or an agent, whose id ends with its tenant. It refuses the tokens of other tenants. Its
/// tool, or the name of its card, is the token.
fn behind_gateway(asked: &ReceivedRequest<'_>) -> Reply {
    let tenant = asked.case.split('-').next_back().unwrap();
    let token = asked.headers.get("authorization").map_or("none", |value| value.strip_prefix("Bearer ").unwrap());
    if !token.starts_with(&format!("token-{tenant}-")) {
        return Reply::Raw(401, "www-authenticate: Bearer\r\n", Vec::new());
    }
    match asked.method {
        "GET" if asked.case.starts_with("agent-") => Reply::Json(json!({
            "name": token, "description": "", "version": "1", "capabilities": {}, "skills": [],
            "url": format!("http://{}/", asked.headers["host"]), "defaultInputModes": [], "defaultOutputModes": [],
        })),
        _ => with_sessions(asked, &json!([{ "name": token, "inputSchema": { "type": "object" } }])),
    }
}

/// Serves requests over TLS, with a certificate for all hosts of `auth.test`.
pub(crate) fn serve(
    listener: TcpListener,
    authority: &Authority,
    reply: impl Fn(&Got) -> (u16, Value) + Send + Sync + 'static,
) {
    let (certificate, key) = authority.sign("*.auth.test");
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let (acceptor, reply) = (TlsAcceptor::from(Arc::new(config)), Arc::new(reply));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, reply) = (acceptor.clone(), reply.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve_connection(stream, &*reply).await;
                }
            });
        }
    });
}

/// Serves the requests of one connection.
async fn serve_connection(stream: TlsStream<TcpStream>, reply: &(impl Fn(&Got) -> (u16, Value) + Sync)) {
    let mut stream = BufReader::new(stream);
    while let Some(got) = read(&mut stream).await {
        let (status, body) = reply(&got);
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TlsStream<TcpStream>>) -> Option<Got> {
    let mut first = String::new();
    if stream.read_line(&mut first).await.ok()? == 0 {
        return None;
    }
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let host = headers["host"].clone();
    let url: Url = format!("https://{host}{}", first.split(' ').nth(1)?).parse().ok()?;
    let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect();
    let (query, form) = (pairs(url.query().unwrap_or_default().as_bytes()), pairs(&body));
    Some(Got { host, path: url.path().to_owned(), query, headers, form })
}
