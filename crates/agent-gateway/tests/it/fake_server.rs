//! An MCP server that sends raw responses and records its requests, and a gateway for it.

use std::sync::{Arc, Mutex};

use agent_gateway::{Credentials, Discovered, Gateway, GatewayBuilder, Principal, Server, ToolFilter, User};
use auth_core::Secret;
use serde_json::{Value, json};
use url::Url;

use crate::server::{self, ReceivedRequest, Reply};

/// A recorded request.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRequest {
    pub(crate) method: String,
    pub(crate) case: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) message: Value,
    pub(crate) received_at: std::time::Instant,
}

/// A running server and the requests that it has received.
pub(crate) struct FakeServer {
    port: u16,
    requests: Arc<Mutex<Vec<RecordedRequest>>>,
}

impl RecordedRequest {
    /// Returns the value of a header. `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Returns the tenant in the token of the request, `token-{tenant}-{user}`.
    pub(crate) fn token_tenant(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer token-")?.split('-').next()
    }
}

impl FakeServer {
    /// Starts a server with these responses. It runs until the process ends.
    pub(crate) fn start(reply: impl Fn(&ReceivedRequest<'_>) -> Reply + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = requests.clone();
        let port = server::start(move |request| {
            let headers = request.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            let (method, case, message) = (request.method.to_owned(), request.case.to_owned(), request.message.clone());
            #[allow(clippy::disallowed_methods, reason = "a delay that a server requests is measured")]
            let received_at = std::time::Instant::now();
            recorded.lock().unwrap().push(RecordedRequest { method, case, headers, message, received_at });
            reply(request)
        });
        Self { port, requests }
    }

    pub(crate) fn url(&self) -> Url {
        format!("http://127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// Returns the builder of a gateway with this server, which has the id `orders`.
    pub(crate) fn builder(&self) -> GatewayBuilder {
        let credentials = Credentials::new(self.url().join("/token").unwrap(), "client-1");
        let servers = vec![Server::at(self.url().join("/v1/mcp/orders/1").unwrap(), "orders", "1")];
        Gateway::builder(credentials, servers).with_plain_loopback()
    }

    /// Returns the requests with this method.
    pub(crate) fn requests(&self, method: &str) -> Vec<RecordedRequest> {
        self.requests.lock().unwrap().iter().filter(|request| request.method == method).cloned().collect()
    }

    /// Returns the number of token requests.
    pub(crate) fn token_request_count(&self) -> usize {
        self.count("token")
    }

    /// Returns the number of requests with this method.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.requests(method).len()
    }
}

/// Lists all tools. Any error fails the test.
pub(crate) async fn list(gateway: &Gateway, principal: &Principal) -> Discovered {
    gateway.list_tools(principal, &ToolFilter::new()).strict().await.unwrap()
}

/// Returns a user with the assertion `assertion-of-{name}`.
pub(crate) fn user(name: &str) -> Principal {
    Principal::User(User::new(Secret::new(format!("assertion-of-{name}"))).unwrap())
}

/// Returns the response of a server with sessions.
pub(crate) fn reply_with_sessions(request: &ReceivedRequest<'_>, tools: &Value) -> Reply {
    match request.method {
        "server/discover" => Reply::Raw(400, "", Vec::new()),
        "initialize" => Reply::Json(request.result(&json!({
            "protocolVersion": "2025-06-18", "capabilities": { "tools": {} },
            "serverInfo": { "name": "s", "version": "1" },
        }))),
        "notifications/initialized" => Reply::Raw(202, "", Vec::new()),
        "tools/list" => request.tools(tools),
        "tools/call" => Reply::Json(request.result(&json!({ "content": [{ "type": "text", "text": "done" }] }))),
        _ => Reply::Raw(405, "", Vec::new()),
    }
}

/// Returns the response of a stateless server. Its tool list has these additional members.
pub(crate) fn reply_without_sessions(request: &ReceivedRequest<'_>, tools: &Value, list_members: &Value) -> Reply {
    match request.method {
        "server/discover" => Reply::Json(request.result(&json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
            "ttlMs": 0, "cacheScope": "public",
        }))),
        "tools/list" => {
            let mut result = json!({ "resultType": "complete", "tools": tools });
            result.as_object_mut().unwrap().extend(list_members.as_object().unwrap().clone());
            Reply::Json(request.result(&result))
        }
        "tools/call" => Reply::Json(request.result(&json!({
            "resultType": "complete", "content": [{ "type": "text", "text": "done" }],
        }))),
        _ => Reply::Raw(404, "", Vec::new()),
    }
}

/// Returns the tools `one` and `two`.
pub(crate) fn two_tools() -> Value {
    json!([{ "name": "one", "inputSchema": { "type": "object" } }, { "name": "two", "inputSchema": { "type": "object" } }])
}
