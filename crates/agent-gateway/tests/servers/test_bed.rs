//! A gateway, its token service and its servers, with certificates of two authorities.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_gateway::{Discovered, Gateway, GatewayBuilder, Principal, ServiceBinding, Tool, ToolFilter, User};
use auth_http::HttpClient;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::authority::Authority;
use crate::mcp::{Mcp, Tls};
use crate::provider::{JWKS, Provider, TOKEN};

pub(crate) const RESOURCE: &str = "urn:sap:identity:application:provider:name:agent-gateway";
pub(crate) const SYSTEM: &str = "client_credentials";
pub(crate) const USER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The names of the servers.
pub(crate) const SERVERS: [&str; 5] = ["orders", "stock", "people", "weather", "ledger"];

pub(crate) struct TestBed {
    pub(crate) provider: Provider,
    pub(crate) mcp: Mcp,
    pub(crate) servers: Authority,
    pub(crate) clients: Authority,
    bindings: TempDir,
    token_url: String,
    tls: Tls,
}

impl TestBed {
    /// Starts the lab. Returns `None`, with a message, if a component is not installed.
    pub(crate) fn open() -> Option<Self> {
        Self::with_peer(0)
    }

    /// Starts the lab with servers of the previous version of their library, which has sessions only.
    pub(crate) fn with_version_1() -> Option<Self> {
        Self::with_peer(1)
    }

    fn with_peer(peer: usize) -> Option<Self> {
        let provider = Provider::start()?;
        let (servers, clients) = (Authority::new(), Authority::new());
        provider.listen_for_mutual_tls(servers.sign("localhost"), &clients.issuer.pem());
        let token_url = token_url(&provider);
        let bindings = TempDir::new().unwrap();
        let (certificate, key) = servers.sign("localhost");
        let tls = [("server.pem", certificate), ("server.key", key)].map(|(name, pem)| written(&servers, name, &pem));
        let [certificate, key] = tls;
        let tls = [certificate, key, clients.file()];
        let mcp = Mcp::start(peer, 0, &jwks(&provider), RESOURCE, Some(&tls))?;
        let test_bed = Self { provider, mcp, servers, clients, bindings, token_url, tls };
        test_bed.bind(&test_bed.clients.sign("machine.test"));
        Some(test_bed)
    }

    /// Starts the lab with servers of MCP before 2026-07-28.
    pub(crate) fn with_sessions() -> Option<Self> {
        let test_bed = Self::open()?;
        test_bed.mcp.require_sessions();
        Some(test_bed)
    }

    /// Writes the binding with this certificate and key atomically, as Kubernetes does.
    pub(crate) fn bind(&self, (certificate, key): &(String, String)) {
        let dependencies = SERVERS.map(|name| json!({ "ordId": name, "globalTenantId": "tenant-1" }));
        let credentials = json!({
            "tokenServiceUrl": self.token_url,
            "clientid": "machine-certificate",
            "certificate": certificate,
            "privateKey": key,
            "gatewayUrl": format!("https://localhost:{}", self.mcp.port),
            "integrationDependencies": dependencies,
        });
        let folder = self.bindings.path().join("agent");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("type"), "integration-credentials\n").unwrap();
        fs::write(folder.join("new"), credentials.to_string()).unwrap();
        fs::rename(folder.join("new"), folder.join("credentials")).unwrap();
    }

    /// Writes an invalid binding.
    pub(crate) fn bind_nothing(&self) {
        fs::write(self.bindings.path().join("agent/credentials"), r#"{ "clientid": "machine-cert"#).unwrap();
    }

    #[cfg(unix)]
    pub(crate) fn bindings(&self) -> &Path {
        self.bindings.path()
    }

    pub(crate) fn binding(&self) -> ServiceBinding {
        ServiceBinding::at(self.bindings.path())
    }

    pub(crate) fn builder(&self) -> GatewayBuilder {
        let http = HttpClient::builder().with_root_certificates(self.servers.file());
        Gateway::builder(self.binding(), self.binding()).with_http(http)
    }

    pub(crate) fn user(&self, name: &str) -> Principal {
        Principal::User(User::new(self.provider.assertion(name, Duration::from_secs(600))).unwrap())
    }

    /// Returns the numbers of issued system tokens, of issued user tokens, and of token requests.
    pub(crate) fn tokens(&self) -> (u64, u64, u64) {
        let provider = &self.provider;
        (provider.grants(SYSTEM), provider.grants(USER), provider.requests(TOKEN))
    }

    /// Restarts the servers at the same port.
    pub(crate) fn restart_servers(&mut self) {
        self.mcp.restart(&jwks(&self.provider), RESOURCE, &self.tls);
    }
}

fn jwks(provider: &Provider) -> String {
    format!("{}{JWKS}", provider.issuer.trim_end_matches('/'))
}

/// Returns the token endpoint of the provider for clients with a certificate.
fn token_url(provider: &Provider) -> String {
    let url = format!("{}/.well-known/openid-configuration", provider.issuer.trim_end_matches('/'));
    let http = provider.http.clone();
    let asking = async move {
        let response = http.send(auth_http::Request::get(url.parse().unwrap())).await.unwrap();
        let document: Value = serde_json::from_slice(&response.bytes(1 << 20).await.unwrap()).unwrap();
        document["mtls_endpoint_aliases"]["token_endpoint"].as_str().unwrap().to_owned()
    };
    let apart = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(asking);
    std::thread::scope(|scope| scope.spawn(apart).join().unwrap())
}

fn written(authority: &Authority, name: &str, pem: &str) -> PathBuf {
    let file = authority.folder.path().join(name);
    fs::write(&file, pem).unwrap();
    file
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("no object: {value}") };
    object
}

pub(crate) fn tool<'a>(found: &'a Discovered, server: &str, name: &str) -> &'a Tool {
    let mut tools = found.tools.iter();
    tools.find(|tool| tool.server().ord_id() == server && tool.name() == name).unwrap()
}

pub(crate) async fn all_tools(gateway: &Gateway, principal: &Principal) -> Discovered {
    gateway.list_tools(principal, &ToolFilter::new()).strict().await.unwrap()
}

/// Returns the caller as seen by the tool.
pub(crate) async fn caller(gateway: &Gateway, found: &Discovered, server: &str, principal: &Principal) -> Value {
    let result = gateway.call_tool(tool(found, server, "whoami"), principal, Map::new()).await.unwrap();
    result.structured().unwrap().clone()
}
