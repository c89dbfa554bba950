//! An MCP server (`rmcp`) that requires a token of an issuer with the server as its audience.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use auth_core::Secret;
use auth_http::HttpClient;
use auth_oauth::{Claims, JwtVerifier};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::provider::{JWKS, Provider};

/// The scopes of the server. Every request requires `orders:read`, except for the call of `cancel`, which requires
/// `orders:write`.
pub(crate) const SCOPES: &str = "orders:read orders:write";

/// A running server. It stops when its runtime shuts down.
pub(crate) struct OrderServer {
    pub(crate) url: Url,
    shared: Arc<Shared>,
}

/// The part of the server that all connections share.
struct Shared {
    url: Url,
    issuer: String,
    verifier: JwtVerifier,
    service: StreamableHttpService<OrderTools, LocalSessionManager>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    accepted_tokens: HashSet<String>,
    revoked_tokens: HashSet<String>,
    rejections: usize,
    session_count: usize,
}

impl OrderServer {
    /// Starts the server, which accepts tokens of the provider.
    pub(crate) async fn start(provider: &Provider) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/mcp", listener.local_addr().unwrap()).parse().unwrap();
        provider.protect(url.as_str(), SCOPES);
        let jwks = format!("{}{JWKS}", provider.issuer.trim_end_matches('/')).parse().unwrap();
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        let service = StreamableHttpService::new(
            || Ok(OrderTools),
            Arc::new(LocalSessionManager::default()),
            StreamableHttpServerConfig::default(),
        );
        let shared = Arc::new(Shared {
            verifier: JwtVerifier::new(http, &provider.issuer, url.as_str(), jwks),
            url: url.clone(),
            issuer: provider.issuer.clone(),
            service,
            state: Mutex::default(),
        });
        let shared_by_connections = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared_by_connections.clone();
                let service = service_fn(move |request| {
                    let shared = shared.clone();
                    async move { Ok::<_, Infallible>(shared.respond(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, shared }
    }

    /// Revokes all tokens that were accepted so far.
    pub(crate) fn revoke(&self) {
        let state = &mut *self.shared.state.lock().unwrap();
        state.revoked_tokens.extend(state.accepted_tokens.drain());
    }

    /// Returns the number of sessions that were started.
    pub(crate) fn session_count(&self) -> usize {
        self.shared.state.lock().unwrap().session_count
    }

    /// Returns the number of requests without a valid token.
    pub(crate) fn rejection_count(&self) -> usize {
        self.shared.state.lock().unwrap().rejections
    }
}

type Body = BoxBody<Bytes, Infallible>;

impl Shared {
    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() == "/.well-known/oauth-protected-resource/mcp" {
            let document = json!({
                "resource": self.url, "authorization_servers": [self.issuer],
                "scopes_supported": SCOPES.split(' ').collect::<Vec<_>>(),
            });
            return response_with_header(200, "content-type", "application/json", document.to_string());
        }
        let claims = self.claims(&request).await;
        let Some(claims) = claims else {
            let metadata = self.url.join("/.well-known/oauth-protected-resource/mcp").unwrap();
            let challenge = format!("Bearer resource_metadata=\"{metadata}\", scope=\"orders:read\"");
            return response_with_header(401, "www-authenticate", &challenge, String::new());
        };
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        if message["method"] == "initialize" {
            self.state.lock().unwrap().session_count += 1;
        }
        let required_scope = match (&message["method"], &message["params"]["name"]) {
            (Value::String(method), Value::String(name)) if method == "tools/call" && name == "cancel" => {
                "orders:write"
            }
            _ => "orders:read",
        };
        if !claims.scopes().iter().any(|scope| scope == required_scope) {
            let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{required_scope}\"");
            return response_with_header(403, "www-authenticate", &challenge, String::new());
        }
        let mut request = Request::from_parts(head, Full::new(body));
        request.extensions_mut().insert(claims);
        self.service.handle(request).await
    }

    /// Returns the claims of the token if it is valid for this server.
    async fn claims(&self, request: &Request<Incoming>) -> Option<Claims> {
        let token = request.headers().get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?.to_owned();
        let claims = self.verifier.verify(&Secret::new(token.as_str())).await.ok();
        let state = &mut *self.state.lock().unwrap();
        let claims = claims.filter(|_| !state.revoked_tokens.contains(&token));
        if claims.is_some() {
            state.accepted_tokens.insert(token);
        } else {
            state.rejections += 1;
        }
        claims
    }
}

/// Returns a response with one header.
fn response_with_header(status: u16, name: &str, value: &str, body: String) -> Response<Body> {
    Response::builder().status(status).header(name, value).body(Full::new(Bytes::from(body)).boxed()).unwrap()
}

/// The tools of the server.
#[derive(Clone)]
struct OrderTools;

impl ServerHandler for OrderTools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities).with_server_info(Implementation::new("orders", "1"))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = || json!({ "type": "object" }).as_object().unwrap().clone();
        let tools = ["find", "cancel"].map(|name| Tool::new(name, "Does something with an order.", schema()));
        Ok(ListToolsResult::with_all_items(tools.into()))
    }

    /// Returns the name of the tool and the subject of the token.
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let parts = context.extensions.get::<http::request::Parts>();
        let claims = parts.and_then(|parts| parts.extensions.get::<Claims>()).unwrap();
        Ok(CallToolResult::success(vec![ContentBlock::text(format!("{} by {}", request.name, claims.sub))]).into())
    }
}
