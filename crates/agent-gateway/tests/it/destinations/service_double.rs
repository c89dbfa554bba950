//! A test double of the Destination service and its authorization server, over TLS. Its destinations lead to an MCP
//! server and A2A agents behind a gateway.
//!
//! Each token contains the names of its tenant and its principal.

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
use crate::fake_server::{FakeServer, reply_with_sessions, user};
use crate::server::{ReceivedRequest, Reply};

/// A request to the Destination service or its authorization server.
#[derive(Clone, Debug)]
pub(crate) struct ServiceRequest {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) form: HashMap<String, String>,
}

/// A running test double. A test may override its responses.
pub(crate) struct Double {
    pub(crate) port: u16,
    pub(crate) gateway: FakeServer,
    requests: Arc<Mutex<Vec<ServiceRequest>>>,
    authority: Authority,
}

/// A function that returns a response in place of the default one, or `None`.
pub(crate) type ResponseOverride = Arc<dyn Fn(&ServiceRequest) -> Option<(u16, Value)> + Send + Sync>;

impl ServiceRequest {
    /// Returns true if this is a request for a token of the service.
    pub(crate) fn is_token(&self) -> bool {
        self.path == "/oauth/token"
    }

    /// Returns the tenant in the token of the request.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.headers.get("authorization")?.strip_prefix("Bearer service-")?.split('-').next()
    }

    /// Returns the label of the requested fragments.
    pub(crate) fn label(&self) -> Option<&str> {
        self.query.get("$filter")?.strip_prefix("Label['sap-managed-runtime-type'] HAS ('")?.strip_suffix("')")
    }
}

impl Double {
    /// Starts a double with the default responses.
    pub(crate) async fn start() -> Self {
        Self::with_override(Arc::new(|_: &ServiceRequest| None)).await
    }

    /// Starts a double with overridden responses.
    pub(crate) async fn with_override(response_override: ResponseOverride) -> Self {
        let (gateway, authority) = (FakeServer::start(gateway_response), Authority::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, url) = (Arc::new(Mutex::new(Vec::new())), gateway.url());
        let recorded = requests.clone();
        serve(listener, &authority, move |request| {
            let mut recorded = recorded.lock().unwrap();
            recorded.push(request.clone());
            response_override(request).unwrap_or_else(|| default_response(request, recorded.len(), &url))
        });
        Self { port, gateway, requests, authority }
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
        builder_for(self.destinations())
    }

    /// Returns the requests to the service and its authorization server.
    pub(crate) fn requests(&self) -> Vec<ServiceRequest> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns the requests whose path contains `path`.
    pub(crate) fn requests_to(&self, path: &str) -> Vec<ServiceRequest> {
        self.requests().into_iter().filter(|request| request.path.contains(path)).collect()
    }
}

/// Returns the builder of a gateway with these destinations.
pub(crate) fn builder_for(destinations: Destinations) -> GatewayBuilder {
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

/// Returns the default response to a request. `number` is the number of requests, including this one.
fn default_response(request: &ServiceRequest, number: usize, gateway: &Url) -> (u16, Value) {
    if request.is_token() {
        let tenant = request.host.split('.').next().unwrap();
        return (
            200,
            json!({ "access_token": format!("service-{tenant}-{number}"), "expires_in": 3600, "token_type": "bearer" }),
        );
    }
    let Some(tenant) = request.tenant() else { return (401, json!({})) };
    if let Some(label) = request.label() {
        return (200, fragments(tenant, label, gateway));
    }
    if request.path != "/destination-configuration/v2/destinations/ias-test@provider_subaccount" {
        return (404, json!({}));
    }
    let fragment = request.headers.get("x-fragment-name").map(String::as_str);
    let user =
        request.headers.get("x-user-token").map_or("system", |token| token.strip_prefix("assertion-of-").unwrap());
    let principal_kind = if user == "system" { "system" } else { "user" };
    let skips_token = request.query.contains_key("$skipTokenRetrieval");
    if !skips_token && fragment != Some(&format!("{tenant}-{principal_kind}@instance")) {
        return (400, json!({}));
    }
    let mut destination = json!({ "destinationConfiguration": { "Name": "ias-test", "Type": "HTTP", "URL": gateway } });
    if !skips_token {
        let header = json!({ "key": "Authorization", "value": format!("Bearer token-{tenant}-{user}") });
        destination["authTokens"] =
            json!([{ "type": "Bearer", "value": "canary", "http_header": header, "expires_in": "3600" }]);
    }
    (200, destination)
}

/// Returns the fragments of a tenant with a label.
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

/// Returns the response of a server or an agent. Its id ends with its tenant, and it refuses the tokens of other
/// tenants. The name of its tool or of its card is the token.
fn gateway_response(request: &ReceivedRequest<'_>) -> Reply {
    let tenant = request.case.split('-').next_back().unwrap();
    let token = request.headers.get("authorization").map_or("none", |value| value.strip_prefix("Bearer ").unwrap());
    if !token.starts_with(&format!("token-{tenant}-")) {
        return Reply::Raw(401, "www-authenticate: Bearer\r\n", Vec::new());
    }
    match request.method {
        "GET" if request.case.starts_with("agent-") => Reply::Json(json!({
            "name": token, "description": "", "version": "1", "capabilities": {}, "skills": [],
            "url": format!("http://{}/", request.headers["host"]), "defaultInputModes": [], "defaultOutputModes": [],
        })),
        _ => reply_with_sessions(request, &json!([{ "name": token, "inputSchema": { "type": "object" } }])),
    }
}

/// Serves requests over TLS, with a certificate for `*.auth.test`.
pub(crate) fn serve(
    listener: TcpListener,
    authority: &Authority,
    reply: impl Fn(&ServiceRequest) -> (u16, Value) + Send + Sync + 'static,
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
async fn serve_connection(stream: TlsStream<TcpStream>, reply: &(impl Fn(&ServiceRequest) -> (u16, Value) + Sync)) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let (status, body) = reply(&request);
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// Reads a request. Returns `None` at the end of the connection, or if the request is malformed.
async fn read(stream: &mut BufReader<TlsStream<TcpStream>>) -> Option<ServiceRequest> {
    let mut request_line = String::new();
    if stream.read_line(&mut request_line).await.ok()? == 0 {
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
    let url: Url = format!("https://{host}{}", request_line.split(' ').nth(1)?).parse().ok()?;
    let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect();
    let (query, form) = (pairs(url.query().unwrap_or_default().as_bytes()), pairs(&body));
    Some(ServiceRequest { host, path: url.path().to_owned(), query, headers, form })
}
