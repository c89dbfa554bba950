use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, Secret, SystemClock, TokenError, TokenRequest, redacted};
use auth_http::{HttpClient, Request};
use serde_json::Value;
use url::Url;

use super::chain::ConfiguredProvider;
use super::env::EnvToken;
use super::error::{CredentialError, Origin};
use super::file::FileToken;
use super::text::{MAX_TOKEN_BYTES, digest, token_from_text};
use crate::{JwtBearer, OAuthClient, TokenExchange, TokenType};

/// The timeout of a request for a token.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The JSON members of a response that may contain the token. GitHub uses `value`.
const TOKEN_MEMBERS: [&str; 4] = ["value", "id_token", "access_token", "token"];
/// The variables of GitHub Actions.
const GITHUB_URL_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const GITHUB_TOKEN_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// A provider of the OIDC token that a platform issues to a workload, such as a pod, a CI job or a virtual machine. The
/// identity provider exchanges this token for an access token, so that the workload needs no secret.
///
/// ```
/// use auth_core::TokenSource;
/// use auth_oauth::{OAuthClient, TokenType, WorkloadIdentity};
///
/// # fn example(client: OAuthClient) {
/// let identity = WorkloadIdentity::file("/var/run/secrets/tokens/platform").with_audience("https://issuer.example");
/// // RFC 8693. `into_jwt_bearer` uses RFC 7523 instead.
/// let source = TokenSource::new(client.token_key().build(), identity.into_token_exchange(client, TokenType::Jwt));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WorkloadIdentity {
    source: IdentitySource,
    audience: Option<String>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Debug)]
enum IdentitySource {
    File(FileToken),
    Variable(EnvToken),
    Url(TokenServer),
}

/// A server that issues tokens to the workload.
#[derive(Clone)]
struct TokenServer {
    origin: Origin,
    http: HttpClient,
    url: Result<Url, String>,
    authorization: Option<Secret>,
    sends_audience: bool,
    remedy: &'static str,
}

impl WorkloadIdentity {
    fn new(source: IdentitySource) -> Self {
        Self { source, audience: None, clock: Arc::new(SystemClock) }
    }

    /// Uses the token in a file, such as a projected service account token of Kubernetes. It is not an error if other
    /// users can read the file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(IdentitySource::File(
            FileToken::new(path).allow_shared().with_provider_name("workload identity file"),
        ))
    }

    /// Uses the token in an environment variable, such as an ID token of GitLab CI.
    pub fn variable(name: impl Into<String>) -> Self {
        Self::new(IdentitySource::Variable(EnvToken::new(name)))
    }

    /// Uses a token that the caller has read from an environment variable. See [`EnvToken::from_value`].
    pub fn from_variable_value(name: impl Into<String>, value: Option<Secret>) -> Self {
        Self::new(IdentitySource::Variable(EnvToken::from_value(name, value)))
    }

    /// Uses the token that a GET request to `url` returns, alone or in JSON (`value`, `id_token`, `access_token` or
    /// `token`).
    pub fn url(http: HttpClient, url: Url) -> Self {
        let origin = Origin::new("workload identity endpoint", redacted(&url).to_string());
        let remedy = "check the permissions of the workload";
        Self::new(IdentitySource::Url(TokenServer {
            origin,
            http,
            url: Ok(url),
            authorization: None,
            sends_audience: false,
            remedy,
        }))
    }

    /// Uses the token of a GitHub Actions job. It is requested for the [audience](Self::with_audience) from the URL in
    /// the variable `ACTIONS_ID_TOKEN_REQUEST_URL`.
    pub fn github(http: HttpClient) -> Self {
        let [url, token] = [GITHUB_URL_VARIABLE, GITHUB_TOKEN_VARIABLE].map(|name| std::env::var(name).ok());
        Self::github_with(http, url.as_deref(), token.map(Secret::new))
    }

    /// Uses the token of a GitHub Actions job. `url` and `token` are the values of `ACTIONS_ID_TOKEN_REQUEST_URL` and
    /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    pub fn github_with(http: HttpClient, url: Option<&str>, token: Option<Secret>) -> Self {
        let url = match (url, &token) {
            (None | Some(""), _) => Err(format!("{GITHUB_URL_VARIABLE} is not set")),
            (Some(_), None) => Err(format!("{GITHUB_TOKEN_VARIABLE} is not set")),
            (Some(url), Some(_)) => url.parse().map_err(|_| format!("{GITHUB_URL_VARIABLE} is not a URL")),
        };
        Self::new(IdentitySource::Url(TokenServer {
            origin: Origin::new("workload identity", "GitHub Actions"),
            http,
            url,
            authorization: token,
            sends_audience: true,
            remedy: "give the job the permission `id-token: write`",
        }))
    }

    /// Sets the expected audience of the token. A token for another audience is rejected. A token of GitHub Actions is
    /// requested for this audience.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        let audience = audience.into();
        self.source = match self.source {
            IdentitySource::File(file) => IdentitySource::File(file.with_audience(&audience)),
            IdentitySource::Variable(variable) => IdentitySource::Variable(variable.with_audience(&audience)),
            url @ IdentitySource::Url(_) => url,
        };
        self.audience = Some(audience);
        self
    }

    /// Sets the clock that determines if a token has expired. The default is the system clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.source = match self.source {
            IdentitySource::File(file) => IdentitySource::File(file.with_clock(clock.clone())),
            IdentitySource::Variable(variable) => IdentitySource::Variable(variable.with_clock(clock.clone())),
            url @ IdentitySource::Url(_) => url,
        };
        self.clock = clock;
        self
    }

    /// Returns a grant that exchanges the token for an access token (RFC 8693).
    pub fn into_token_exchange(self, client: OAuthClient, subject_type: TokenType) -> TokenExchange<Self> {
        TokenExchange::new(client, self, subject_type)
    }

    /// Returns a grant that presents the token as an assertion (RFC 7523).
    pub fn into_jwt_bearer(self, client: OAuthClient) -> JwtBearer<Self> {
        JwtBearer::new(client, self)
    }
}

#[async_trait]
impl AsyncTokenProvider for WorkloadIdentity {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        match &self.source {
            IdentitySource::File(file) => file.fetch(request).await,
            IdentitySource::Variable(variable) => variable.fetch(request).await,
            IdentitySource::Url(server) => {
                let audience = self.audience.as_deref();
                let text = server.fetch_text(audience).await?;
                Ok(token_from_text(&server.origin, text.expose(), self.clock.now(), audience)?)
            }
        }
    }

    /// Returns an identity derived from the identity of the file or variable, or from the URL and the authorization.
    fn identity(&self) -> Option<String> {
        let source = match &self.source {
            IdentitySource::File(file) => file.identity()?,
            IdentitySource::Variable(variable) => variable.identity()?,
            IdentitySource::Url(server) => server.identity()?,
        };
        Some(format!("workload {} {source}", self.audience.as_deref().unwrap_or_default()))
    }

    fn credential_version(&self) -> u64 {
        match &self.source {
            IdentitySource::File(file) => file.credential_version(),
            IdentitySource::Variable(_) | IdentitySource::Url(_) => 0,
        }
    }
}

impl ConfiguredProvider for WorkloadIdentity {
    fn check_configured(&self) -> Result<(), CredentialError> {
        match &self.source {
            IdentitySource::File(file) => file.check_configured(),
            IdentitySource::Variable(variable) => variable.check_configured(),
            IdentitySource::Url(server) => server.configured_url().map(drop),
        }
    }
}

impl fmt::Debug for TokenServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_ref().map(|url| redacted(url).to_string());
        formatter.debug_struct("TokenServer").field("origin", &self.origin).field("url", &url).finish_non_exhaustive()
    }
}

impl TokenServer {
    fn configured_url(&self) -> Result<&Url, CredentialError> {
        self.url.as_ref().map_err(|reason| self.origin.not_configured(reason, self.remedy))
    }

    fn identity(&self) -> Option<String> {
        let authorization = self.authorization.as_ref().map_or("", Secret::expose);
        Some(format!("endpoint {}", digest([self.url.as_ref().ok()?.as_str(), authorization])))
    }

    /// Requests a token, and returns its text.
    async fn fetch_text(&self, audience: Option<&str>) -> Result<Secret, CredentialError> {
        let mut url = self.configured_url()?.clone();
        if let Some(audience) = audience.filter(|_| self.sends_audience) {
            url.query_pairs_mut().append_pair("audience", audience);
        }
        let request = Request::get(url).with_timeout(TIMEOUT).with_header("accept", "application/json");
        let bearer = |secret: &Secret| format!("Bearer {}", secret.expose());
        let request = self
            .authorization
            .iter()
            .fold(request, |request, secret| request.with_header("authorization", bearer(secret)));
        let request_error = |error: auth_http::HttpError| {
            let credential_error = if error.is_transient() {
                self.origin.unavailable("it does not respond", "check the network")
            } else {
                self.origin.unusable("the request failed", "check its URL")
            };
            credential_error.with_source(error)
        };
        let response = self.http.send(request).await.map_err(request_error)?;
        match response.status() {
            200 => {}
            status if auth_core::is_transient_status(status) => {
                return Err(self.origin.unavailable(format!("it responded with {status}"), "retry later"));
            }
            status => return Err(self.origin.refused(format!("it responded with {status}"), self.remedy)),
        }
        let body = response.bytes(MAX_TOKEN_BYTES).await.map_err(request_error)?;
        let text = std::str::from_utf8(&body)
            .map_err(|_| self.origin.unusable("its response is not text", "check its URL"))?;
        let token = match serde_json::from_str::<Value>(text) {
            Ok(json @ Value::Object(_)) => TOKEN_MEMBERS.iter().find_map(|name| json[name].as_str().map(str::to_owned)),
            _ => Some(text.to_owned()),
        };
        token.map(Secret::new).ok_or_else(|| self.origin.unusable("its response contains no token", "check its URL"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{header, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::external::text::tests::jwt;

    fn http() -> HttpClient {
        HttpClient::builder().with_plain_loopback().build().unwrap()
    }

    fn github(server: &MockServer) -> WorkloadIdentity {
        let url = format!("{}/token?api-version=2.0", server.uri());
        WorkloadIdentity::github_with(http(), Some(&url), Some(Secret::new("request-canary")))
            .with_audience("https://a")
    }

    async fn server_responding_with(response: ResponseTemplate) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(method("GET")).and(path("/token")).respond_with(response).mount(&server).await;
        server
    }

    async fn fetch_error(identity: &WorkloadIdentity) -> (TokenError, String) {
        let error = identity.fetch(&TokenRequest::new()).await.unwrap_err();
        let text = CredentialError::of(&error).unwrap().to_string();
        assert!(!format!("{error:?} {text}").contains("canary"), "{error:?}");
        (error, text)
    }

    #[tokio::test]
    async fn github_issues_a_token_for_the_audience() {
        let server = MockServer::start().await;
        let token = jwt(&json!({ "aud": "https://a", "exp": 9_999_999_999_u64 }));
        Mock::given(path("/token"))
            .and(query_param("audience", "https://a"))
            .and(query_param("api-version", "2.0"))
            .and(header("authorization", "Bearer request-canary"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "count": 1, "value": token })))
            .mount(&server)
            .await;
        let identity = github(&server);
        assert_eq!(identity.fetch(&TokenRequest::new()).await.unwrap().secret().expose(), token);
        assert!(!identity.identity().unwrap().contains("canary") && !format!("{identity:?}").contains("canary"));
        let with_another_request_token =
            WorkloadIdentity::github_with(http(), Some(&server.uri()), Some(Secret::new("another")));
        assert_ne!(identity.identity(), with_another_request_token.identity());
    }

    #[tokio::test]
    async fn error_names_the_missing_permission() {
        let server = server_responding_with(ResponseTemplate::new(403).set_body_string("canary")).await;
        let (error, text) = fetch_error(&github(&server)).await;
        assert!(error.is_refused(), "{error:?}");
        assert!(text.contains("GitHub Actions") && text.contains("403") && text.contains("id-token: write"), "{text}");
        let (_, text) = fetch_error(&WorkloadIdentity::github_with(http(), None, None)).await;
        assert!(text.contains("ACTIONS_ID_TOKEN_REQUEST_URL is not set") && text.contains("id-token: write"), "{text}");
    }

    #[tokio::test]
    async fn unavailable_endpoint_is_a_transient_error() {
        let server = server_responding_with(ResponseTemplate::new(503)).await;
        assert!(fetch_error(&github(&server)).await.0.is_transient());
        let unreachable = WorkloadIdentity::url(http(), "http://127.0.0.1:9/token?sig=canary".parse().unwrap());
        let (error, text) = fetch_error(&unreachable).await;
        assert!(error.is_transient() && text.contains("http://127.0.0.1:9/token?***"), "{text}");
        assert!(!format!("{unreachable:?}").contains("canary"), "{unreachable:?}");
        let without_tls = WorkloadIdentity::url(http(), "http://issuer.test/token".parse().unwrap());
        assert!(!fetch_error(&without_tls).await.0.is_transient(), "HTTP without TLS is allowed only on loopback");
    }

    #[tokio::test]
    async fn token_for_another_audience_is_an_error() {
        let server =
            server_responding_with(ResponseTemplate::new(200).set_body_string(jwt(&json!({ "aud": "b" })))).await;
        let (error, text) = fetch_error(&github(&server)).await;
        assert!(error.is_refused() && text.contains("audience 'b', not 'https://a'"), "{text}");
        let variable = WorkloadIdentity::from_variable_value("X", Some(Secret::new(jwt(&json!({ "aud": "b" })))));
        assert!(fetch_error(&variable.with_audience("a")).await.0.is_refused());
    }

    #[tokio::test]
    async fn html_and_json_without_a_token_are_errors() {
        let html = server_responding_with(ResponseTemplate::new(200).set_body_string("<html>canary</html>")).await;
        assert!(fetch_error(&github(&html)).await.1.contains("HTML"));
        let empty = server_responding_with(ResponseTemplate::new(200).set_body_json(json!({ "canary": 1 }))).await;
        assert!(fetch_error(&github(&empty)).await.1.contains("contains no token"));
    }
}
