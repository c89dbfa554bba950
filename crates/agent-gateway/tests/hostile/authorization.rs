//! Servers and authorization servers that try to obtain a token or a code, or that send malformed responses.
//!
//! The name of a case begins with the part of the authorization that is hostile. All earlier parts respond correctly.

mod cases;

use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use agent_gateway::{Gateway, Interaction, LoginPage, McpAuthorization, Principal, Server, ToolFilter};
use async_trait::async_trait;
use auth_http::{HttpClient, Request};
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use cases::{CASES, HOSTILE_CASES};

use crate::cases::GZIP_BOMB;
use crate::server::{self, ReceivedRequest, Reply};
use crate::{assert_case_passed, describe_gateway_error, run_as_client, run_client, server_port};

/// The maximum number of requests of a case.
const MAX_REQUESTS: usize = 40;
/// The time limit of a login. Only cases without a valid redirect to the client reach it.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit of a list, on a busy machine. No case reaches it: every server responds or closes the
/// connection.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the response to a request of a case. `other_port` is the port of another server, which must get no request.
fn reply(request: &ReceivedRequest<'_>, other_port: u16) -> Reply {
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    let base = format!("http://{}", request.headers["host"]);
    let responder = CaseResponder { case: request.case, base, other_server: format!("http://127.0.0.1:{other_port}") };
    let metadata_path = path.strip_prefix("/.well-known/");
    match (metadata_path.and_then(|path| path.split('/').next()), path.rsplit('/').next()) {
        (Some("oauth-protected-resource"), _) => responder.server_metadata(),
        (Some("oauth-authorization-server"), _) => responder.issuer_metadata(),
        (Some(_), _) => Reply::NoBody(404, String::new()),
        (None, Some("register")) => responder.registration(),
        (None, Some("authorize")) => responder.login_redirect(query),
        (None, Some("redeem")) => responder.token_response(),
        _ => responder.mcp_response(request),
    }
}

/// The server of a case and its authorization server.
struct CaseResponder<'a> {
    case: &'a str,
    /// The URL of the server.
    base: String,
    /// The URL of a server that must get no request.
    other_server: String,
}

impl CaseResponder<'_> {
    /// Returns the URL of the server of the case, followed by `suffix`.
    fn url(&self, suffix: &str) -> String {
        format!("{}/mcp/{}{suffix}", self.base, self.case)
    }

    /// Returns the malformed response of the case `{document}-{kind}`, or `None` if the case is about something else.
    fn malformed_response(&self, document: &str) -> Option<Reply> {
        let kind = self.case.strip_prefix(document)?.strip_prefix('-')?;
        let json = "content-type: application/json\r\n";
        Some(match kind {
            "missing" => Reply::NoBody(404, String::new()),
            "html" => Reply::Raw(200, "content-type: text/html\r\n", b"<html>canary".to_vec()),
            "list" => Reply::Json(json!([])),
            "cut" => Reply::Raw(200, json, b"{\"resource\": \"canary".to_vec()),
            "deep" => Reply::Text(format!("{{\"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000))),
            "large" => Reply::Text(format!("{{\"x\": \"{}\"}}", "x".repeat(4 * 1024 * 1024))),
            "endless" => Reply::Endless("application/json", "{".to_owned(), vec![b' '; 4096]),
            "gzip" => {
                Reply::Raw(200, "content-type: application/json\r\ncontent-encoding: gzip\r\n", GZIP_BOMB.clone())
            }
            "redirect" => Reply::NoBody(307, format!("location: {}/elsewhere\r\n", self.other_server)),
            "server-error" => Reply::NoBody(503, String::new()),
            "silent" => Reply::Close,
            _ => return None,
        })
    }

    /// Returns the metadata of the server.
    fn server_metadata(&self) -> Reply {
        if let Some(malformed) = self.malformed_response("resource") {
            return malformed;
        }
        let (own_url, issuer) = (self.url(""), self.url(""));
        let resource = match self.case {
            "resource-other-origin" => json!(format!("{}/mcp/{}", self.other_server, self.case)),
            "resource-other-path" => json!(format!("{}/mcp/other", self.base)),
            "resource-longer-path" => json!(self.url("/1")),
            "resource-prefix" | "challenge-prefix" => json!(format!("{}/mcp", self.base)),
            "resource-user" => json!(own_url.replace("//", "//canary@")),
            "resource-number" => json!(7),
            _ => json!(own_url),
        };
        let issuers = match self.case {
            "resource-no-issuer" => json!([]),
            "resource-issuer-text" => json!("canary"),
            "resource-issuer-file" => json!(["file:///etc/passwd"]),
            "resource-issuer-plain" => json!(["http://issuer.test/"]),
            "resource-issuer-user" => json!([issuer.replace("//", "//user:canary@")]),
            _ => json!([issuer]),
        };
        let scopes = match self.case {
            "resource-scopes-control" => json!(["read\u{1b}[31m"]),
            "resource-scopes-many" => json!((0..1000).map(|number| number.to_string()).collect::<Vec<_>>()),
            _ => json!(["read"]),
        };
        Reply::Json(json!({ "resource": resource, "authorization_servers": issuers, "scopes_supported": scopes }))
    }

    /// Returns the metadata of the authorization server.
    fn issuer_metadata(&self) -> Reply {
        if let Some(malformed) = self.malformed_response("issuer") {
            return malformed;
        }
        let mut document = json!({
            "issuer": self.url(""),
            "authorization_endpoint": self.url("/authorize"),
            "token_endpoint": self.url("/redeem"),
            "registration_endpoint": self.url("/register"),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            "authorization_response_iss_parameter_supported": true,
        });
        let (name, value) = match self.case {
            "issuer-other" => ("issuer", json!("https://issuer.test/\u{1b}[31m")),
            "issuer-slash" => ("issuer", json!(self.url("/"))),
            "issuer-none" => ("issuer", Value::Null),
            "issuer-no-pkce" => ("code_challenge_methods_supported", Value::Null),
            "issuer-plain-pkce" => ("code_challenge_methods_supported", json!(["plain"])),
            "issuer-no-token-endpoint" => ("token_endpoint", Value::Null),
            "issuer-no-authorization-endpoint" => ("authorization_endpoint", Value::Null),
            "issuer-endpoint-list" => ("token_endpoint", json!([self.url("/redeem")])),
            "issuer-endpoint-plain" => ("token_endpoint", json!("http://issuer.test/redeem")),
            "issuer-endpoint-script" => ("authorization_endpoint", json!("javascript:alert(1)")),
            "issuer-mixes-up" => {
                document["authorization_response_iss_parameter_supported"] = json!(false);
                ("token_endpoint", json!(format!("{}/redeem", self.other_server)))
            }
            "client-none" => ("registration_endpoint", Value::Null),
            "client-plain" => ("registration_endpoint", json!("http://issuer.test/register")),
            _ => return Reply::Json(document),
        };
        document[name] = value;
        Reply::Json(document)
    }

    /// Returns the response to the registration of a client.
    fn registration(&self) -> Reply {
        if let Some(malformed) = self.malformed_response("client") {
            return malformed;
        }
        let client = match self.case {
            "client-refused" => {
                let body =
                    json!({ "error": "invalid_client_metadata", "error_description": "no\u{1b}[31m".repeat(1000) });
                return Reply::Raw(400, "content-type: application/json\r\n", body.to_string().into_bytes());
            }
            "client-no-id" => json!({ "client_secret": "canary-secret" }),
            "client-id-control" => json!({ "client_id": "client\r\nx: y" }),
            "client-other-authentication" => {
                json!({ "client_id": "c", "client_secret": "canary", "token_endpoint_auth_method": "private_key_jwt" })
            }
            "client-no-secret" => json!({ "client_id": "c", "token_endpoint_auth_method": "client_secret_basic" }),
            _ => json!({ "client_id": "client" }),
        };
        Reply::Json(client)
    }

    /// Redirects the user to the callback listener of the client.
    fn login_redirect(&self, query: &str) -> Reply {
        let form: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut redirect: Url = form["redirect_uri"].parse().unwrap();
        let state = if self.case == "login-other-state" { "other" } else { &form["state"] };
        let issuer = match self.case {
            "login-other-issuer" => Some("https://issuer.test".to_owned()),
            "login-no-issuer" => None,
            _ => Some(self.url("")),
        };
        let outcome = match self.case {
            "login-denied" => Some(("error", "access_denied")),
            "login-no-code" => None,
            "login-ignored" => return Reply::NoBody(404, String::new()),
            _ => Some(("code", "canary-code")),
        };
        redirect.query_pairs_mut().append_pair("state", state);
        redirect.query_pairs_mut().extend_pairs(issuer.iter().map(|issuer| ("iss", issuer))).extend_pairs(outcome);
        Reply::NoBody(302, format!("location: {redirect}\r\n"))
    }

    /// Returns the response to a token request.
    fn token_response(&self) -> Reply {
        if let Some(malformed) = self.malformed_response("token") {
            return malformed;
        }
        match self.case {
            "token-other-type" => Reply::Json(json!({ "access_token": "canary-token", "token_type": "mac" })),
            "token-control" => Reply::Json(json!({ "access_token": "canary\r\nx: y", "token_type": "Bearer" })),
            "token-refused" => {
                let body = json!({ "error": "invalid_grant", "error_description": "canary-code\u{7}" });
                Reply::Raw(400, "content-type: application/json\r\n", body.to_string().into_bytes())
            }
            _ => Reply::Json(json!({ "access_token": "canary-token", "token_type": "Bearer", "expires_in": 3600 })),
        }
    }

    /// Returns the response of the MCP server.
    fn mcp_response(&self, request: &ReceivedRequest<'_>) -> Reply {
        if !request.headers.contains_key("authorization") || self.case == "use-rejected" {
            let challenge = match self.case {
                "challenge-elsewhere" => format!(" resource_metadata=\"{}/elsewhere\"", self.other_server),
                "challenge-prefix" => {
                    format!(" resource_metadata=\"{}/.well-known/oauth-protected-resource/x\"", self.base)
                }
                "challenge-no-url" => " resource_metadata=\"http://[canary\"".to_owned(),
                "challenge-scope-quote" => " scope=\"read\\\"\"".to_owned(),
                _ => String::new(),
            };
            return Reply::NoBody(401, format!("www-authenticate: Bearer{challenge}\r\n"));
        }
        let scope = match self.case {
            "use-redirect" => return Reply::NoBody(307, format!("location: {}/elsewhere\r\n", self.other_server)),
            "use-scopes" => ", scope=\"read\"".to_owned(),
            "use-more-scopes" => format!(", scope=\"more-{}\"", request.earlier_count),
            _ => String::new(),
        };
        Reply::NoBody(403, format!("www-authenticate: Bearer error=\"insufficient_scope\"{scope}\r\n"))
    }
}

/// A user who opens the login page and follows one redirect.
#[derive(Debug)]
struct User(HttpClient);

#[async_trait]
impl Interaction for User {
    async fn open(&self, page: &LoginPage) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (http, url) = (self.0.clone(), page.url().clone());
        tokio::spawn(async move {
            let response = http.send(Request::get(url)).await.unwrap();
            if let Some(redirect) = response.header("location") {
                http.send(Request::get(redirect.parse().unwrap())).await.unwrap();
            }
        });
        Ok(())
    }
}

/// Lists the tools of the server of a case twice. Returns the errors, each with its properties.
async fn list_errors(port: u16, case: &str) -> Value {
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let authorization = McpAuthorization::new(Arc::new(User(http))).with_login_timeout(LOGIN_TIMEOUT);
    let url = format!("http://127.0.0.1:{port}/mcp/{case}").parse().unwrap();
    let gateway = Gateway::builder(authorization, vec![Server::new(url, case)]);
    let gateway = gateway.with_plain_loopback().with_discovery_timeout(DISCOVERY_TIMEOUT).build();
    let mut errors = Vec::new();
    for _ in 0..2 {
        let listing = gateway.list_tools(&Principal::System, &ToolFilter::new()).await.unwrap();
        for error in &listing.errors {
            let mut entry = describe_gateway_error(case, error);
            let is_typed =
                error.authorization_error().is_some() || (case == "use-redirect" && error.status() == Some(307));
            let is_hostile = error.authorization_error().is_some_and(agent_gateway::AuthorizationError::is_hostile);
            entry.as_object_mut().unwrap().extend(Map::from_iter([
                ("typed".to_owned(), json!(is_typed)),
                ("hostile".to_owned(), json!(is_hostile)),
            ]));
            errors.push(entry);
        }
    }
    Value::Array(errors)
}

#[test]
fn hostile_authorization_servers_get_neither_code_nor_token() {
    const TEST: &str = "authorization::hostile_authorization_servers_get_neither_code_nor_token";
    if let Some(port) = server_port() {
        return run_as_client(async { list_errors(port, &std::env::var(crate::CASE_VARIABLE).unwrap()).await });
    }
    LazyLock::force(&GZIP_BOMB);
    let other_server_requests = Arc::new(AtomicUsize::new(0));
    let request_counter = other_server_requests.clone();
    let other_port = server::start(move |_| {
        request_counter.fetch_add(1, Ordering::SeqCst);
        Reply::NoBody(404, String::new())
    });
    let run_cases = |cases: &[&str]| {
        for case in cases {
            let requests = Arc::new(AtomicUsize::new(0));
            let request_counter = requests.clone();
            let port = server::start(move |request| {
                request_counter.fetch_add(1, Ordering::SeqCst);
                reply(request, other_port)
            });
            let result = run_client(TEST, port, case);
            assert_case_passed(case, &result);
            assert_eq!(result["result"].as_array().unwrap().len(), 2, "{case}: {result}");
            assert!(
                result["result"].as_array().unwrap().iter().all(|error| error["typed"] == true),
                "{case}: {result}"
            );
            let is_hostile = HOSTILE_CASES.contains(case);
            assert_eq!(result["result"][0]["hostile"], is_hostile, "{case}: {result}");
            let requests = requests.load(Ordering::SeqCst);
            assert!(requests <= MAX_REQUESTS, "{case}: {requests} requests");
        }
    };
    std::thread::scope(|scope| {
        for cases in CASES.chunks(CASES.len().div_ceil(4)) {
            scope.spawn(|| run_cases(cases));
        }
    });
    assert_eq!(other_server_requests.load(Ordering::SeqCst), 0, "a request was sent to another server");
}
