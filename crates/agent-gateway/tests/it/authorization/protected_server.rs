//! An MCP server with its own authorization server, and a user who logs in.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_gateway::{Gateway, GatewayBuilder, Interaction, LoginPage, McpAuthorization, Server};
use async_trait::async_trait;
use auth_http::{HttpClient, Request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

use crate::fake_server::{reply_with_sessions, reply_without_sessions, two_tools};
use crate::server::{self, ReceivedRequest, Reply};

pub(crate) type Form = HashMap<String, String>;

/// The behavior of the server, its tokens, and the requests that it has received.
#[derive(Default)]
pub(crate) struct State {
    /// The valid access tokens with their scopes.
    pub(crate) tokens: HashMap<String, BTreeSet<String>>,
    /// The valid refresh tokens with their scopes.
    pub(crate) refresh_tokens: HashMap<String, BTreeSet<String>>,
    /// The valid codes with their authorization requests.
    codes: HashMap<String, Form>,
    /// The path of the redirect URL of each registered client.
    redirects: HashMap<String, String>,
    /// The number of issued tokens.
    issued_count: usize,
    pub(crate) registrations: Vec<Value>,
    /// The authorization requests.
    pub(crate) authorizations: Vec<Form>,
    /// The token requests.
    pub(crate) token_requests: Vec<Form>,
    /// The access tokens that the server has received.
    pub(crate) sent_tokens: Vec<String>,
    /// The methods of the MCP requests.
    pub(crate) methods: Vec<String>,
    pub(crate) options: Options,
}

/// The deviations from the default behavior.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent deviations")]
pub(crate) struct Options {
    /// Requires no token.
    pub(crate) is_open: bool,
    pub(crate) has_sessions: bool,
    /// Rejects every access token.
    pub(crate) rejects_all_tokens: bool,
    pub(crate) denies_logins: bool,
    pub(crate) without_refresh_tokens: bool,
    pub(crate) accepts_client_metadata: bool,
    /// The authorization responses do not contain the issuer.
    pub(crate) without_issuer: bool,
    /// The URL of another authorization server, to which users are redirected for their logins, and the client there.
    pub(crate) redirects_logins_to: Option<(Url, &'static str)>,
    pub(crate) refuses_clients: bool,
    /// The lifetime of the tokens in seconds, by default one hour.
    pub(crate) lifetime: Option<u64>,
    /// The scopes that a call requires.
    pub(crate) call_scopes: Vec<&'static str>,
    /// Requires another scope for each call.
    pub(crate) always_requires_more_scopes: bool,
    /// The issuer in the metadata of the server, instead of its own authorization server.
    pub(crate) other_issuer: Option<String>,
}

/// A running server. Its authorization server has the same origin.
pub(crate) struct ProtectedServer {
    pub(crate) url: Url,
    state: Arc<Mutex<State>>,
}

impl ProtectedServer {
    pub(crate) fn start(options: Options) -> Self {
        let state = Arc::new(Mutex::new(State { options, ..State::default() }));
        let state_of_server = state.clone();
        let port = server::start(move |request| reply(&mut state_of_server.lock().unwrap(), request));
        Self { url: format!("http://127.0.0.1:{port}").parse().unwrap(), state }
    }

    /// Returns the URL of the MCP endpoint.
    pub(crate) fn mcp(&self) -> Url {
        self.url.join("/mcp/orders").unwrap()
    }

    /// Returns the issuer.
    pub(crate) fn issuer(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    /// Returns the builder of a gateway with this server, which has the id `orders`.
    pub(crate) fn builder(&self, authorization: McpAuthorization) -> GatewayBuilder {
        Gateway::builder(authorization, vec![Server::new(self.mcp(), "orders")]).with_plain_loopback()
    }

    /// Reads or changes the state.
    pub(crate) fn with_state<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        action(&mut self.state.lock().unwrap())
    }

    /// Returns the number of logins.
    pub(crate) fn logins(&self) -> usize {
        self.request_counts().0
    }

    /// Returns the number of refreshes.
    pub(crate) fn refreshes(&self) -> usize {
        self.request_counts().1
    }

    /// Returns the number of registrations of clients.
    pub(crate) fn registrations(&self) -> usize {
        self.request_counts().2
    }

    /// Returns the numbers of logins, refreshes and registrations.
    pub(crate) fn request_counts(&self) -> (usize, usize, usize) {
        self.with_state(|state| {
            let refreshes = state.token_requests.iter().filter(|form| form["grant_type"] == "refresh_token").count();
            (state.authorizations.len(), refreshes, state.registrations.len())
        })
    }

    /// Revokes all access tokens.
    pub(crate) fn revoke(&self) {
        self.with_state(|state| state.tokens.clear());
    }
}

fn reply(state: &mut State, request: &ReceivedRequest<'_>) -> Reply {
    let base = format!("http://{}", request.headers["host"]);
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    match path {
        "/.well-known/oauth-protected-resource/mcp/orders" => {
            let issuer = state.options.other_issuer.as_ref().unwrap_or(&base);
            let resource = format!("{base}/mcp/orders");
            Reply::Json(
                json!({ "resource": resource, "authorization_servers": [issuer], "scopes_supported": ["read"] }),
            )
        }
        "/.well-known/oauth-authorization-server" => Reply::Json(json!({
            "issuer": base,
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/redeem"),
            "registration_endpoint": format!("{base}/register"),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            "authorization_response_iss_parameter_supported": !state.options.without_issuer,
            "client_id_metadata_document_supported": state.options.accepts_client_metadata,
        })),
        "/register" => {
            state.registrations.push(request.message.clone());
            let (id, redirect) =
                (format!("client-{}", state.registrations.len()), &request.message["redirect_uris"][0]);
            let redirect: Url = redirect.as_str().unwrap().parse().unwrap();
            state.redirects.insert(id.clone(), redirect.path().to_owned());
            Reply::Json(json!({ "client_id": id }))
        }
        "/authorize" => authorize(state, &base, form(query.as_bytes())),
        "/redeem" => redeem(state, &form(request.body)),
        "/mcp/orders" => mcp_response(state, request),
        _ => Reply::NoBody(404, String::new()),
    }
}

fn form(text: &[u8]) -> Form {
    form_urlencoded::parse(text).into_owned().collect()
}

/// Redirects the user to the client with a code. The redirect URL must be the registered one.
fn authorize(state: &mut State, base: &str, mut form: Form) -> Reply {
    if let Some((other, client)) = &state.options.redirects_logins_to {
        form.insert("client_id".to_owned(), (*client).to_owned());
        let mut url = other.join("/authorize").unwrap();
        url.query_pairs_mut().extend_pairs(&form);
        return Reply::NoBody(302, format!("location: {url}\r\n"));
    }
    let path = form["redirect_uri"].parse::<Url>().unwrap().path().to_owned();
    let registered_path = state.redirects.get(&form["client_id"]).map_or("/callback", String::as_str);
    if path != registered_path {
        return Reply::NoBody(400, String::new());
    }
    let mut redirect: Url = form["redirect_uri"].parse().unwrap();
    redirect.query_pairs_mut().append_pair("state", &form["state"]);
    if !state.options.without_issuer {
        redirect.query_pairs_mut().append_pair("iss", base);
    }
    let code = format!("canary-code-{}", state.authorizations.len());
    state.authorizations.push(form.clone());
    if state.options.denies_logins {
        redirect.query_pairs_mut().append_pair("error", "access_denied");
    } else {
        redirect.query_pairs_mut().append_pair("code", &code);
        state.codes.insert(code, form);
    }
    Reply::NoBody(302, format!("location: {redirect}\r\n"))
}

/// Redeems a code or a refresh token. Each can be redeemed only once.
fn redeem(state: &mut State, form: &Form) -> Reply {
    state.token_requests.push(form.clone());
    let refusal = |code: &str| {
        Reply::Raw(400, "content-type: application/json\r\n", json!({ "error": code }).to_string().into_bytes())
    };
    if state.options.refuses_clients {
        return refusal("invalid_client");
    }
    let scopes = match form["grant_type"].as_str() {
        "authorization_code" => {
            let Some(authorization) = state.codes.remove(&form["code"]) else { return refusal("invalid_grant") };
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
            let is_unchanged = |name: &str| authorization[name] == form[name];
            if challenge != authorization["code_challenge"]
                || !is_unchanged("redirect_uri")
                || !is_unchanged("resource")
            {
                return refusal("invalid_grant");
            }
            authorization.get("scope").map(|scope| scope.split(' ').map(str::to_owned).collect()).unwrap_or_default()
        }
        _ => match state.refresh_tokens.remove(&form["refresh_token"]) {
            Some(scopes) => scopes,
            None => return refusal("invalid_grant"),
        },
    };
    state.issued_count += 1;
    let (token, refresh_token) =
        (format!("canary-token-{}", state.issued_count), format!("canary-refresh-{}", state.issued_count));
    state.tokens.insert(token.clone(), scopes.clone());
    let mut response =
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": state.options.lifetime.unwrap_or(3600) });
    if !state.options.without_refresh_tokens {
        state.refresh_tokens.insert(refresh_token.clone(), scopes);
        response["refresh_token"] = json!(refresh_token);
    }
    Reply::Json(response)
}

/// Responds as an MCP server if the token is valid.
fn mcp_response(state: &mut State, request: &ReceivedRequest<'_>) -> Reply {
    state.methods.push(request.method.to_owned());
    let token = request.headers.get("authorization").and_then(|header| header.strip_prefix("Bearer "));
    state.sent_tokens.extend(token.map(str::to_owned));
    let scopes = token.and_then(|token| state.tokens.get(token)).filter(|_| !state.options.rejects_all_tokens);
    let Some(scopes) = scopes else {
        return if state.options.is_open {
            authorized_response(state, request)
        } else {
            Reply::NoBody(401, "www-authenticate: Bearer error=\"invalid_token\"\r\n".to_owned())
        };
    };
    let mut required: Vec<String> = state.options.call_scopes.iter().map(|scope| (*scope).to_owned()).collect();
    if state.options.always_requires_more_scopes {
        required.push(format!("more-{}", request.earlier_count));
    }
    if request.method == "tools/call" && !required.iter().all(|scope| scopes.contains(scope)) {
        let scope = required.join(" ");
        let challenge = format!("www-authenticate: Bearer error=\"insufficient_scope\", scope=\"{scope}\"\r\n");
        return Reply::NoBody(403, challenge);
    }
    authorized_response(state, request)
}

/// Returns the response to an authorized MCP request.
fn authorized_response(state: &State, request: &ReceivedRequest<'_>) -> Reply {
    if state.options.has_sessions {
        reply_with_sessions(request, &two_tools())
    } else {
        reply_without_sessions(request, &two_tools(), &json!({}))
    }
}

/// A user who follows the redirects of the login page.
#[derive(Debug)]
pub(crate) struct User {
    http: HttpClient,
    pub(crate) delay: Duration,
    pub(crate) pages: Mutex<Vec<LoginPage>>,
}

impl User {
    pub(crate) fn new() -> Arc<Self> {
        Self::slow(Duration::ZERO)
    }

    /// Returns a user who opens the login page after a delay.
    pub(crate) fn slow(delay: Duration) -> Arc<Self> {
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        Arc::new(Self { http, delay, pages: Mutex::default() })
    }
}

#[async_trait]
impl Interaction for User {
    async fn open(&self, page: &LoginPage) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.pages.lock().unwrap().push(page.clone());
        let (http, delay, url) = (self.http.clone(), self.delay, page.url().clone());
        tokio::spawn(async move {
            let never = std::future::pending::<()>();
            let _ = tokio::time::timeout(delay, never).await;
            let mut response = http.send(Request::get(url)).await.unwrap();
            while let Some(redirect) = response.header("location") {
                let redirect = redirect.parse().unwrap();
                response = http.send(Request::get(redirect)).await.unwrap();
            }
        });
        Ok(())
    }
}
