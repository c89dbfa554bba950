//! A test bed: a token service, MCP servers and a service binding, with certificates of two authorities.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_gateway::{Discovered, Gateway, GatewayBuilder, Principal, ServiceBinding, Tool, ToolFilter, User};
use auth_http::HttpClient;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::authority::Authority;
use crate::mcp::{McpServers, TlsFiles};
use crate::provider::{JWKS, Provider, TOKEN};

/// The resource of the tokens for the gateway.
pub(crate) const RESOURCE: &str = "urn:sap:identity:application:provider:name:agent-gateway";
/// The OAuth grant for system tokens.
pub(crate) const SYSTEM_GRANT: &str = "client_credentials";
/// The OAuth grant for user tokens.
pub(crate) const USER_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The names of the servers.
pub(crate) const SERVERS: [&str; 5] = ["orders", "stock", "people", "weather", "ledger"];

/// A running test bed. Its servers end when it is dropped.
pub(crate) struct TestBed {
    pub(crate) provider: Provider,
    pub(crate) mcp: McpServers,
    /// The authority of the server certificates.
    pub(crate) server_authority: Authority,
    /// The authority of the client certificates.
    pub(crate) client_authority: Authority,
    bindings: TempDir,
    token_url: String,
    tls: TlsFiles,
}

impl TestBed {
    /// Starts a test bed with stateless servers. Returns `None`, with a message, if a component is not installed.
    pub(crate) fn open() -> Option<Self> {
        Self::with_peer(0)
    }

    /// Starts a test bed with servers of the previous version of their library, which supports only sessions.
    pub(crate) fn with_version_1() -> Option<Self> {
        Self::with_peer(1)
    }

    /// Starts a test bed with servers of [`PEERS`](crate::mcp::PEERS).
    fn with_peer(peer_index: usize) -> Option<Self> {
        let provider = Provider::start()?;
        let (server_authority, client_authority) = (Authority::new(), Authority::new());
        provider.listen_for_mutual_tls(server_authority.sign("localhost"), &client_authority.issuer.pem());
        let token_url = token_url(&provider);
        let bindings = TempDir::new().unwrap();
        let (certificate, key) = server_authority.sign("localhost");
        let tls = [("server.pem", certificate), ("server.key", key)]
            .map(|(name, pem)| write_pem(&server_authority, name, &pem));
        let [certificate, key] = tls;
        let tls = [certificate, key, client_authority.file()];
        let mcp = McpServers::start(peer_index, 0, &jwks(&provider), RESOURCE, Some(&tls))?;
        let test_bed = Self { provider, mcp, server_authority, client_authority, bindings, token_url, tls };
        test_bed.write_binding(&test_bed.client_authority.sign("machine.test"));
        Some(test_bed)
    }

    /// Starts a test bed with servers of MCP before 2026-07-28, which have sessions.
    pub(crate) fn with_sessions() -> Option<Self> {
        let test_bed = Self::open()?;
        test_bed.mcp.require_sessions();
        Some(test_bed)
    }

    /// Writes a binding with this certificate and key. Replaces it atomically, as Kubernetes does.
    pub(crate) fn write_binding(&self, (certificate, key): &(String, String)) {
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
    pub(crate) fn write_invalid_binding(&self) {
        fs::write(self.bindings.path().join("agent/credentials"), r#"{ "clientid": "machine-cert"#).unwrap();
    }

    #[cfg(unix)]
    /// Returns the folder of the bindings.
    pub(crate) fn bindings(&self) -> &Path {
        self.bindings.path()
    }

    pub(crate) fn binding(&self) -> ServiceBinding {
        ServiceBinding::at(self.bindings.path())
    }

    /// Returns the builder of a gateway with the binding.
    pub(crate) fn builder(&self) -> GatewayBuilder {
        let http = HttpClient::builder().with_root_certificates(self.server_authority.file());
        Gateway::builder(self.binding(), self.binding()).with_http(http)
    }

    /// Returns a user with a new assertion, which is valid for ten minutes.
    pub(crate) fn user(&self, name: &str) -> Principal {
        Principal::User(User::new(self.provider.assertion(name, Duration::from_secs(600))).unwrap())
    }

    /// Returns the numbers of issued system tokens, issued user tokens and token requests.
    pub(crate) fn tokens(&self) -> (u64, u64, u64) {
        let provider = &self.provider;
        (provider.grants(SYSTEM_GRANT), provider.grants(USER_GRANT), provider.requests(TOKEN))
    }

    /// Restarts the servers at the same port.
    pub(crate) fn restart_servers(&mut self) {
        self.mcp.restart(&jwks(&self.provider), RESOURCE, &self.tls);
    }
}

/// Returns the URL of the keys of the provider.
fn jwks(provider: &Provider) -> String {
    format!("{}{JWKS}", provider.issuer.trim_end_matches('/'))
}

/// Returns the token endpoint of the provider for clients with a certificate.
fn token_url(provider: &Provider) -> String {
    let url = format!("{}/.well-known/openid-configuration", provider.issuer.trim_end_matches('/'));
    let http = provider.http.clone();
    let discovery = async move {
        let response = http.send(auth_http::Request::get(url.parse().unwrap())).await.unwrap();
        let document: Value = serde_json::from_slice(&response.bytes(1 << 20).await.unwrap()).unwrap();
        document["mtls_endpoint_aliases"]["token_endpoint"].as_str().unwrap().to_owned()
    };
    // The caller may be in a runtime, which cannot block on a future.
    let discover = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(discovery);
    std::thread::scope(|scope| scope.spawn(discover).join().unwrap())
}

/// Writes a PEM file to the folder of an authority. Returns its path.
fn write_pem(authority: &Authority, name: &str, pem: &str) -> PathBuf {
    let file = authority.folder.path().join(name);
    fs::write(&file, pem).unwrap();
    file
}

/// Returns the members of a JSON object.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("not an object: {value}") };
    object
}

/// Returns a tool of a server.
pub(crate) fn tool<'a>(listing: &'a Discovered, server: &str, name: &str) -> &'a Tool {
    let mut tools = listing.tools.iter();
    tools.find(|tool| tool.server().ord_id() == server && tool.name() == name).unwrap()
}

/// Lists all tools. Any error fails the test.
pub(crate) async fn all_tools(gateway: &Gateway, principal: &Principal) -> Discovered {
    gateway.list_tools(principal, &ToolFilter::new()).strict().await.unwrap()
}

/// Calls the tool `whoami`. Returns the claims of the token that it received.
pub(crate) async fn whoami(gateway: &Gateway, listing: &Discovered, server: &str, principal: &Principal) -> Value {
    let result = gateway.call_tool(tool(listing, server, "whoami"), principal, Map::new()).await.unwrap();
    result.structured().unwrap().clone()
}
