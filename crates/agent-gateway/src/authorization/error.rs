use std::error::Error;
use std::time::SystemTime;

use auth_core::{SourceBuildError, TokenError};
use auth_http::{HttpError, redacted};
use auth_oauth::OAuthError;
use url::Url;

/// The maximum number of characters of another server's text that an error shows.
const MAX_TEXT_CHARS: usize = 200;

/// An error of the authorization for an MCP server. It never shows a token, a code or a secret.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AuthorizationError(Box<Kind>);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("{url_description} '{url}' is not https")]
    Insecure { url_description: &'static str, url: String },
    #[error("{url_description} '{url}' is an internal address, but the address of the server is not")]
    Internal { url_description: &'static str, url: String },
    #[error("cannot fetch '{url}'")]
    Fetch { url: String, source: HttpError },
    #[error("'{url}' responded with {status}")]
    Status { url: String, status: u16 },
    #[error("the document at '{url}' is not valid: {problem}")]
    Document { url: String, problem: String, is_wrong_media_type: bool },
    #[error("the server requires a token, but its metadata is at another origin: '{0}'")]
    Origin(String),
    #[error("the server requires a token, but publishes no metadata that names an authorization server")]
    NoMetadata,
    #[error("the metadata at '{url}' is for another resource: '{resource}'")]
    Resource { url: String, resource: String },
    #[error("the authorization server '{0}' publishes no metadata")]
    NoIssuerMetadata(String),
    #[error("the metadata at '{url}' is that of the issuer '{published_issuer}' instead of '{issuer}'")]
    Issuer { url: String, published_issuer: String, issuer: String },
    #[error("the authorization server '{0}' does not offer PKCE with S256")]
    Pkce(String),
    #[error(
        "the endpoints of the authorization server '{0}' are at different origins, and it does not announce that its \
         responses name it (RFC 9207)"
    )]
    MixUp(String),
    #[error(
        "the authorization server '{0}' does not announce that its responses name it (RFC 9207), which a client with a \
         metadata document requires, because its redirect URL is the same for all"
    )]
    SharedRedirect(String),
    #[error(
        "no client is registered with the authorization server '{0}', which offers no registration: register one, and pass \
         its id to `with_client`"
    )]
    Unregistered(String),
    #[error("the authorization server '{issuer}' does not register the client: {problem}")]
    Registration { issuer: String, problem: String },
    #[error("the stored registrations of clients cannot be read")]
    Store(#[source] Box<dyn Error + Send + Sync>),
    #[error("the authorization server '{0}' offers no method by which the client can authenticate itself")]
    Authentication(String),
    #[error("the server requests scopes that are not valid: {0}")]
    Scopes(&'static str),
    #[error("the server requires other scopes than the token has: {}", .0.join(" "))]
    InsufficientScope(Vec<String>),
    #[error("the server rejects the tokens of its authorization server, even after a refresh and a new login")]
    Rejected,
    #[error("the user must log in, but logins are not possible here: pass a refresh token, or an interaction")]
    LoginRequired,
    #[error(
        "there were too many logins for the server: the next one is possible at {}",
        jiff::Timestamp::try_from(*.0).unwrap_or(jiff::Timestamp::MAX)
    )]
    TooManyLogins(SystemTime),
    #[error("the assertion of the user has expired: the user must log in again")]
    AssertionExpired,
    #[error("no token was obtained")]
    Token(#[source] TokenError),
    #[error("the token source of the server cannot be built")]
    Setup(#[source] SourceBuildError),
    #[error("the redirect URL '{0}' must use http on localhost, 127.0.0.1 or [::1], and must have no fragment")]
    Redirect(String),
}

impl From<Kind> for AuthorizationError {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl AuthorizationError {
    pub(super) fn insecure(url_description: &'static str, url: &Url) -> Self {
        Kind::Insecure { url_description, url: redact_url(url) }.into()
    }

    pub(super) fn internal(url_description: &'static str, url: &Url) -> Self {
        Kind::Internal { url_description, url: redact_url(url) }.into()
    }

    pub(super) fn fetch(url_description: &'static str, url: &Url, source: HttpError) -> Self {
        if source.is_internal() {
            return Self::internal(url_description, url);
        }
        Kind::Fetch { url: redact_url(url), source }.into()
    }

    pub(super) fn status(url: &Url, status: u16) -> Self {
        Kind::Status { url: redact_url(url), status }.into()
    }

    pub(super) fn document(url: &Url, problem: impl AsRef<str>) -> Self {
        Kind::Document { url: redact_url(url), problem: sanitize(problem.as_ref()), is_wrong_media_type: false }.into()
    }

    /// Creates the error of a response that is not JSON, such as a web page.
    pub(super) fn wrong_media_type(url: &Url, content_type: &str) -> Self {
        let problem = format!("its type is `{}` instead of JSON", sanitize(content_type));
        Kind::Document { url: redact_url(url), problem, is_wrong_media_type: true }.into()
    }

    pub(super) fn origin(url: &str) -> Self {
        Kind::Origin(redact_url_text(url)).into()
    }

    pub(super) fn no_metadata() -> Self {
        Kind::NoMetadata.into()
    }

    pub(super) fn resource(url: &Url, resource: &str) -> Self {
        Kind::Resource { url: redact_url(url), resource: redact_url_text(resource) }.into()
    }

    pub(super) fn no_issuer_metadata(issuer: &str) -> Self {
        Kind::NoIssuerMetadata(redact_url_text(issuer)).into()
    }

    pub(super) fn issuer(url: &Url, published_issuer: &str, issuer: &str) -> Self {
        Kind::Issuer {
            url: redact_url(url),
            published_issuer: redact_url_text(published_issuer),
            issuer: redact_url_text(issuer),
        }
        .into()
    }

    pub(super) fn pkce(issuer: &str) -> Self {
        Kind::Pkce(sanitize(issuer)).into()
    }

    pub(super) fn mix_up(issuer: &str) -> Self {
        Kind::MixUp(sanitize(issuer)).into()
    }

    pub(super) fn shared_redirect(issuer: &str) -> Self {
        Kind::SharedRedirect(sanitize(issuer)).into()
    }

    pub(super) fn unregistered(issuer: &str) -> Self {
        Kind::Unregistered(sanitize(issuer)).into()
    }

    pub(super) fn registration(issuer: &str, problem: &str) -> Self {
        Kind::Registration { issuer: sanitize(issuer), problem: sanitize(problem) }.into()
    }

    pub(super) fn store(source: Box<dyn Error + Send + Sync>) -> Self {
        Kind::Store(source).into()
    }

    pub(super) fn authentication(issuer: &str) -> Self {
        Kind::Authentication(sanitize(issuer)).into()
    }

    pub(super) fn scopes(problem: &'static str) -> Self {
        Kind::Scopes(problem).into()
    }

    pub(super) fn insufficient_scope<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Self {
        Kind::InsufficientScope(scopes.into_iter().map(str::to_owned).collect()).into()
    }

    pub(super) fn rejected() -> Self {
        Kind::Rejected.into()
    }

    pub(super) fn login_required() -> Self {
        Kind::LoginRequired.into()
    }

    pub(super) fn too_many_logins(next: SystemTime) -> Self {
        Kind::TooManyLogins(next).into()
    }

    pub(super) fn assertion_expired() -> Self {
        Kind::AssertionExpired.into()
    }

    /// Maps an error of the token source. Repeated rejections are reported like the rejection after a login.
    pub(super) fn token(source: TokenError) -> Self {
        if source.is_rejected() { Self::rejected() } else { Kind::Token(source).into() }
    }

    pub(super) fn setup(source: SourceBuildError) -> Self {
        Kind::Setup(source).into()
    }

    pub(super) fn redirect(url: &Url) -> Self {
        Kind::Redirect(redact_url(url)).into()
    }

    /// Returns true if another location may have the document: after a 4xx status, or a response that is not JSON.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        matches!(*self.0, Kind::Status { status: 400..=499, .. } | Kind::Document { is_wrong_media_type: true, .. })
    }

    /// Returns true if the document does not exist: the server responded with a 4xx status.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(*self.0, Kind::Status { status: 400..=499, .. })
    }

    /// Returns true if the metadata of the server or of its authorization server is missing, not valid, or for another
    /// resource or issuer, or if a request to the registration endpoint failed. Neither a code nor a token was sent.
    pub fn is_metadata(&self) -> bool {
        let is_document = matches!(
            *self.0,
            Kind::Fetch { .. }
                | Kind::Status { .. }
                | Kind::Document { .. }
                | Kind::NoMetadata
                | Kind::NoIssuerMetadata(_)
        );
        is_document || self.is_hostile()
    }

    /// Returns true if the metadata would send a token or a code to a wrong recipient: another origin or resource,
    /// another issuer, an unencrypted or internal address, or an authorization server without PKCE.
    pub fn is_hostile(&self) -> bool {
        // A host name can resolve to an internal address after the metadata was read.
        let is_internal = |error: &OAuthError| {
            let mut causes = std::iter::successors(error.source(), |&error| error.source());
            causes.any(|error| error.downcast_ref().is_some_and(HttpError::is_internal))
        };
        self.oauth_error().is_some_and(is_internal)
            || matches!(
                *self.0,
                Kind::Insecure { .. }
                    | Kind::Internal { .. }
                    | Kind::Origin(_)
                    | Kind::Resource { .. }
                    | Kind::Issuer { .. }
                    | Kind::Pkce(_)
                    | Kind::MixUp(_)
            )
    }

    /// Returns true if a usable client registration does not exist and cannot be created.
    pub fn is_registration(&self) -> bool {
        matches!(
            *self.0,
            Kind::Unregistered(_)
                | Kind::Registration { .. }
                | Kind::Store(_)
                | Kind::Authentication(_)
                | Kind::SharedRedirect(_)
        )
    }

    /// Returns the scopes that the server requires, if the token does not have them and they could not be obtained.
    pub fn missing_scopes(&self) -> Option<&[String]> {
        match &*self.0 {
            Kind::InsufficientScope(scopes) => Some(scopes),
            _ => None,
        }
    }

    /// Returns true if the server rejects the tokens of its authorization server.
    pub fn is_rejected(&self) -> bool {
        matches!(*self.0, Kind::Rejected)
    }

    /// Returns true if the user must log in, but no login is possible.
    pub fn is_login_required(&self) -> bool {
        let is_required = |error: &TokenError| {
            error.source_ref::<Self>().is_some_and(Self::is_login_required)
                || error.source_ref::<OAuthError>().is_some_and(OAuthError::is_login_required)
        };
        matches!(*self.0, Kind::LoginRequired) || self.token_error().is_some_and(is_required)
    }

    /// Returns the time at which the user can log in again, if there were three logins for the server within ten
    /// minutes.
    pub fn next_login(&self) -> Option<SystemTime> {
        match &*self.0 {
            Kind::TooManyLogins(next) => Some(*next),
            Kind::Token(error) => error.source_ref::<Self>().and_then(Self::next_login),
            _ => None,
        }
    }

    /// Returns the error of the token request or of the login, if it failed.
    pub fn token_error(&self) -> Option<&TokenError> {
        match &*self.0 {
            Kind::Token(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the error of the authorization server or of the login, if there is one.
    pub fn oauth_error(&self) -> Option<&OAuthError> {
        match &*self.0 {
            Kind::Token(error) => error.source_ref(),
            _ => None,
        }
    }
}

/// Returns a text of another server, truncated and without control characters.
pub(super) fn sanitize(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_TEXT_CHARS).collect()
}

/// Returns the URL in `text` without its secrets, or a note that the text is not a URL.
fn redact_url_text(text: &str) -> String {
    text.parse().map_or_else(|_| "an invalid URL".to_owned(), |url| redact_url(&url))
}

fn redact_url(url: &Url) -> String {
    sanitize(&redacted(url).to_string())
}
