//! A server with its own authorization server, and a user who logs in there.

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

use crate::fake_server::{stateless, tools, with_sessions};
use crate::server::{self, ReceivedRequest, Reply};

pub(crate) type Form = HashMap<String, String>;

/// The behavior of the site, and the requests so far.
#[derive(Default)]
pub(crate) struct State {
    /// The valid access tokens with their scopes, and the refresh tokens.
    pub(crate) tokens: HashMap<String, BTreeSet<String>>,
    pub(crate) refresh_tokens: HashMap<String, BTreeSet<String>>,
    codes: HashMap<String, Form>,
    /// The paths of the redirect URLs of the registered clients.
    redirects: HashMap<String, String>,
    issued: usize,
    pub(crate) registrations: Vec<Value>,
    /// The authorization requests, the token requests, and the tokens sent to the server.
    pub(crate) authorizations: Vec<Form>,
    pub(crate) forms: Vec<Form>,
    pub(crate) sent: Vec<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) options: Options,
}

/// The deviations of a site from the usual behavior.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "independent deviations")]
pub(crate) struct Options {
    pub(crate) is_open: bool,
    pub(crate) has_sessions: bool,
    pub(crate) rejects_everything: bool,
    pub(crate) denies_logins: bool,
    pub(crate) without_refresh_tokens: bool,
    pub(crate) accepts_client_metadata: bool,
    /// Does not name itself in its responses.
    pub(crate) without_issuer: bool,
    /// The URL of another site to which users are redirected for their logins, with this client.
    pub(crate) mixes_up: Option<(Url, &'static str)>,
    pub(crate) refuses_clients: bool,
    /// The seconds for which tokens are valid, if they are not valid for an hour.
    pub(crate) lifetime: Option<u64>,
    /// The scopes that a call requires.
    pub(crate) call_scopes: Vec<&'static str>,
    /// Requires another scope for each call.
    pub(crate) requires_more_and_more: bool,
    /// The issuer that the metadata of the server names, instead of that of the site.
    pub(crate) other_issuer: Option<String>,
}

pub(crate) struct Site {
    pub(crate) url: Url,
    state: Arc<Mutex<State>>,
}

impl Site {
    pub(crate) fn start(options: Options) -> Self {
        let state = Arc::new(Mutex::new(State { options, ..State::default() }));
        let shared = state.clone();
        let port = server::start(move |asked| reply(&mut shared.lock().unwrap(), asked));
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

    pub(crate) fn builder(&self, authorization: McpAuthorization) -> GatewayBuilder {
        Gateway::builder(authorization, vec![Server::new(self.mcp(), "orders")]).with_plain_loopback()
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    /// Returns the numbers of logins, of refreshes, and of registrations.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        self.with(|state| {
            let refreshes = state.forms.iter().filter(|form| form["grant_type"] == "refresh_token").count();
            (state.authorizations.len(), refreshes, state.registrations.len())
        })
    }

    /// Revokes all access tokens.
    pub(crate) fn revoke(&self) {
        self.with(|state| state.tokens.clear());
    }
}

fn reply(state: &mut State, asked: &ReceivedRequest<'_>) -> Reply {
    let base = format!("http://{}", asked.headers["host"]);
    let (path, query) = asked.path.split_once('?').unwrap_or((asked.path, ""));
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
            state.registrations.push(asked.message.clone());
            let (id, redirect) = (format!("client-{}", state.registrations.len()), &asked.message["redirect_uris"][0]);
            let redirect: Url = redirect.as_str().unwrap().parse().unwrap();
            state.redirects.insert(id.clone(), redirect.path().to_owned());
            Reply::Json(json!({ "client_id": id }))
        }
        "/authorize" => authorize(state, &base, form(query.as_bytes())),
        "/redeem" => redeem(state, &form(asked.body)),
        "/mcp/orders" => guarded(state, asked),
        _ => Reply::Head(404, String::new()),
    }
}

fn form(text: &[u8]) -> Form {
    form_urlencoded::parse(text).into_owned().collect()
}

/// Redirects the user with a code, if the client has this redirect URL.
fn authorize(state: &mut State, base: &str, mut form: Form) -> Reply {
    if let Some((other, client)) = &state.options.mixes_up {
        form.insert("client_id".to_owned(), (*client).to_owned());
        let mut url = other.join("/authorize").unwrap();
        url.query_pairs_mut().extend_pairs(&form);
        return Reply::Head(302, format!("location: {url}\r\n"));
    }
    let path = form["redirect_uri"].parse::<Url>().unwrap().path().to_owned();
    let registered = state.redirects.get(&form["client_id"]).map_or("/callback", String::as_str);
    if path != registered {
        return Reply::Head(400, String::new());
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
    Reply::Head(302, format!("location: {redirect}\r\n"))
}

/// Redeems a code or a refresh token, each once.
fn redeem(state: &mut State, form: &Form) -> Reply {
    state.forms.push(form.clone());
    let refused = |code: &str| {
        Reply::Raw(400, "content-type: application/json\r\n", json!({ "error": code }).to_string().into_bytes())
    };
    if state.options.refuses_clients {
        return refused("invalid_client");
    }
    let scopes = match form["grant_type"].as_str() {
        "authorization_code" => {
            let Some(begun) = state.codes.remove(&form["code"]) else { return refused("invalid_grant") };
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
            let is_same = |name: &str| begun[name] == form[name];
            if challenge != begun["code_challenge"] || !is_same("redirect_uri") || !is_same("resource") {
                return refused("invalid_grant");
            }
            begun.get("scope").map(|scope| scope.split(' ').map(str::to_owned).collect()).unwrap_or_default()
        }
        _ => match state.refresh_tokens.remove(&form["refresh_token"]) {
            Some(scopes) => scopes,
            None => return refused("invalid_grant"),
        },
    };
    state.issued += 1;
    let (token, refresh_token) = (format!("canary-token-{}", state.issued), format!("canary-refresh-{}", state.issued));
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
fn guarded(state: &mut State, asked: &ReceivedRequest<'_>) -> Reply {
    state.methods.push(asked.method.to_owned());
    let token = asked.headers.get("authorization").and_then(|header| header.strip_prefix("Bearer "));
    state.sent.extend(token.map(str::to_owned));
    let scopes = token.and_then(|token| state.tokens.get(token)).filter(|_| !state.options.rejects_everything);
    let Some(scopes) = scopes else {
        return if state.options.is_open {
            answer(state, asked)
        } else {
            Reply::Head(401, "www-authenticate: Bearer error=\"invalid_token\"\r\n".to_owned())
        };
    };
    let mut required: Vec<String> = state.options.call_scopes.iter().map(|scope| (*scope).to_owned()).collect();
    if state.options.requires_more_and_more {
        required.push(format!("more-{}", asked.earlier));
    }
    if asked.method == "tools/call" && !required.iter().all(|scope| scopes.contains(scope)) {
        let scope = required.join(" ");
        let challenge = format!("www-authenticate: Bearer error=\"insufficient_scope\", scope=\"{scope}\"\r\n");
        return Reply::Head(403, challenge);
    }
    answer(state, asked)
}

fn answer(state: &State, asked: &ReceivedRequest<'_>) -> Reply {
    if state.options.has_sessions { with_sessions(asked, &tools()) } else { stateless(asked, &tools(), &json!({})) }
}

/// A user who follows the redirects of the page.
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

    /// Returns a user who needs this time.
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
