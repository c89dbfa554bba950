//! Misbehaving servers. They use plain HTTP on loopback, as behind a TLS sidecar.

use std::time::Duration;

use agent_gateway::{Credentials, Gateway, GatewayBuilder, GatewayError, Principal, Server, ToolFilter, User};
use auth_core::Secret;
use serde_json::{Map, Value, json};
use url::form_urlencoded;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const MCP_PATH: &str = "/v1/mcp/orders/1";

/// A mock of a token service and of an MCP server.
struct MockGateway {
    server: MockServer,
}

impl MockGateway {
    /// Starts a server that sends `response` to all requests after the start of a session.
    async fn responding_with(response: impl Fn(&Value) -> ResponseTemplate + Send + Sync + 'static) -> Self {
        let server = MockServer::start().await;
        let token_body = json!({ "access_token": "canary-token", "token_type": "Bearer", "expires_in": 3600 });
        let token = ResponseTemplate::new(200).set_body_json(token_body);
        Mock::given(path("/oauth2/token")).respond_with(token).mount(&server).await;
        let respond = move |request: &Request| {
            let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            match message["method"].as_str() {
                Some("initialize") => result_response(
                    &message,
                    &json!({
                        "protocolVersion": "2025-06-18", "capabilities": { "tools": {} },
                        "serverInfo": { "name": "fake", "version": "1" },
                    }),
                ),
                Some("notifications/initialized") => ResponseTemplate::new(202),
                Some("server/discover") => ResponseTemplate::new(400),
                _ => response(&message),
            }
        };
        Mock::given(method("POST")).and(path(MCP_PATH)).respond_with(respond).mount(&server).await;
        Self { server }
    }

    fn builder(&self) -> GatewayBuilder {
        let url: url::Url = self.server.uri().parse().unwrap();
        let credentials = Credentials::new(url.join("/oauth2/token").unwrap(), "client-1");
        let servers = vec![Server::behind(&url, "orders", "1").unwrap()];
        Gateway::builder(credentials, servers).with_plain_loopback()
    }

    /// Lists the tools. Returns the error.
    async fn list_error(&self, principal: &Principal) -> GatewayError {
        let gateway = self.builder().with_discovery_timeout(Duration::from_secs(60)).build();
        gateway.list_tools(principal, &ToolFilter::new()).strict().await.unwrap_err()
    }

    /// Returns the requests to a path.
    async fn requests(&self, path: &str) -> Vec<Request> {
        let requests = self.server.received_requests().await.unwrap();
        requests.into_iter().filter(|request| request.url.path() == path).collect()
    }
}

/// Returns a JSON-RPC response with this result.
fn result_response(message: &Value, result: &Value) -> ResponseTemplate {
    let response = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    ResponseTemplate::new(200).set_body_json(response).insert_header("mcp-session-id", "session-1")
}

#[tokio::test]
async fn client_without_certificate_sends_its_id_in_the_form() {
    let mock_gateway = MockGateway::responding_with(|message| result_response(message, &json!({ "tools": [] }))).await;
    let gateway = mock_gateway.builder().build();
    let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap();
    assert!(listing.tools.is_empty());
    let [request] = &mock_gateway.requests("/oauth2/token").await[..] else { panic!("one request") };
    let form: Vec<(String, String)> = form_urlencoded::parse(&request.body).into_owned().collect();
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(form, [("grant_type", "client_credentials"), ("client_id", "client-1")]);
    assert!(
        mock_gateway
            .requests(MCP_PATH)
            .await
            .iter()
            .all(|request| request.headers["authorization"] == "Bearer canary-token")
    );
}

#[tokio::test]
async fn token_is_not_sent_unencrypted_or_after_a_redirect() {
    let mock_gateway = MockGateway::responding_with(|_| {
        ResponseTemplate::new(307).insert_header("location", "https://elsewhere.test/v1/mcp/orders/1")
    })
    .await;
    assert_eq!(mock_gateway.list_error(&Principal::System).await.status(), Some(307));

    let credentials = Credentials::new(mock_gateway.server.uri().parse().unwrap(), "client-1");
    let servers = vec![Server::behind(&"http://gateway.test".parse().unwrap(), "orders", "1").unwrap()];
    let gateway = Gateway::builder(credentials, servers).with_plain_loopback().build();
    let error = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap_err();
    assert!(error.token_error().is_some_and(auth_core::TokenError::is_insecure), "{error:?}");
    assert!(mock_gateway.requests("/").await.is_empty(), "no token was obtained for the insecure server");
}

#[tokio::test]
async fn server_that_rejects_a_token_does_not_get_it_again() {
    let mock_gateway = MockGateway::responding_with(|_| ResponseTemplate::new(401)).await;
    let error = mock_gateway.list_error(&Principal::System).await;
    assert!(error.is_unauthorized(), "{error:?}");
    assert_eq!(mock_gateway.requests("/oauth2/token").await.len(), 2);
    let requests = mock_gateway.requests(MCP_PATH).await;
    let list_requests = requests.iter().filter(|request| request.body.windows(10).any(|part| part == b"tools/list"));
    assert_eq!(list_requests.count(), 1);
}

#[tokio::test]
async fn invalid_response_is_an_error() {
    let html_response = |_: &Value| ResponseTemplate::new(200).set_body_raw("<html>canary", "text/html");
    let error = MockGateway::responding_with(html_response).await.list_error(&Principal::System).await.to_string();
    assert!(error.contains("text/html") && !error.contains("canary"), "{error}");

    let response_of_other_form =
        |_: &Value| ResponseTemplate::new(200).set_body_raw(r#"{"canary": 1}"#, "application/json");
    let error =
        MockGateway::responding_with(response_of_other_form).await.list_error(&Principal::System).await.to_string();
    assert!(error.contains("not an MCP message") && !error.contains("canary"), "{error}");

    let error_response = |message: &Value| {
        let error = json!({ "code": -32601, "message": "no\u{7} tools here" });
        let response = json!({ "jsonrpc": "2.0", "id": message["id"], "error": error });
        ResponseTemplate::new(200).set_body_json(response)
    };
    let error = MockGateway::responding_with(error_response).await.list_error(&Principal::System).await;
    assert_eq!(error.code(), Some(-32601), "{error:?}");
    assert!(error.to_string().contains("no tools here"), "{error}");

    let endless_list = |message: &Value| result_response(message, &json!({ "tools": [], "nextCursor": "again" }));
    let error = MockGateway::responding_with(endless_list).await.list_error(&Principal::System).await.to_string();
    assert!(error.contains("does not end"), "{error}");
}

#[tokio::test]
async fn external_schema_is_validated_by_the_server_only() {
    let mock_gateway = MockGateway::responding_with(|message| match message["method"].as_str() {
        Some("tools/list") => {
            let schema = json!({ "type": "object", "$ref": "https://elsewhere.test/schema.json" });
            result_response(message, &json!({ "tools": [{ "name": "external", "inputSchema": schema }] }))
        }
        _ => result_response(message, &json!({ "content": [{ "type": "text", "text": "done" }] })),
    })
    .await;
    let gateway = mock_gateway.builder().build();
    let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap();
    let result = gateway.call_tool(&listing.tools[0], &Principal::System, Map::new()).await.unwrap();
    assert_eq!(result.text(), "done");
}

#[tokio::test]
async fn unknown_content_kind_is_returned_with_the_others() {
    let blocks = json!([{ "type": "hologram", "depth": 3 }, { "type": "text", "text": "done" }]);
    let mock_gateway = MockGateway::responding_with(move |message| match message["method"].as_str() {
        Some("tools/list") => {
            result_response(message, &json!({ "tools": [{ "name": "new", "inputSchema": { "type": "object" } }] }))
        }
        _ => result_response(message, &json!({ "content": blocks, "structuredContent": null, "isError": false })),
    })
    .await;
    let gateway = mock_gateway.builder().build();
    let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).strict().await.unwrap();
    let result = gateway.call_tool(&listing.tools[0], &Principal::System, Map::new()).await.unwrap();
    assert_eq!((result.content()[0].kind(), &result.content()[0].json()["depth"]), ("hologram", &json!(3)));
    assert_eq!((result.text().as_str(), result.structured()), ("done", Some(&Value::Null)));
}

#[tokio::test]
async fn slow_tool_is_a_timeout_error_of_its_server() {
    let mock_gateway = MockGateway::responding_with(|message| match message["method"].as_str() {
        Some("tools/list") => {
            result_response(message, &json!({ "tools": [{ "name": "slow", "inputSchema": { "type": "object" } }] }))
        }
        Some("tools/call") => ResponseTemplate::new(202).set_delay(Duration::from_secs(3600)),
        _ => ResponseTemplate::new(202),
    })
    .await;
    let gateway = mock_gateway.builder().build();
    let user = Principal::User(User::new(Secret::new("an-assertion")).unwrap());
    let listing = gateway.list_tools(&user, &ToolFilter::new()).strict().await.unwrap();
    let call = gateway.call_tool(&listing.tools[0], &user, Map::new()).with_timeout(Duration::from_millis(500));
    let error = call.await.unwrap_err();
    assert!(error.is_timeout() && error.server() == Some(listing.tools[0].server()), "{error:?}");
}
