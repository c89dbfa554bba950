use std::error::Error;
use std::time::Duration;

use auth_core::TokenError;
use auth_http::{BuildError, HttpError};
use rmcp::ServiceError;
use rmcp::model::ProtocolVersion;
use rmcp::service::ClientInitializeError;
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

use crate::authorization::AuthorizationError;
use crate::credentials::CredentialError;
use crate::result::ToolResult;
use crate::server::Server;
use crate::transport::{TransportError, is_replacement_error, sanitize};

/// An error of listing or calling tools. It never shows a token, a key, an argument or a result.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct GatewayError(Box<Kind>);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the credentials of the gateway cannot be used")]
    Credentials(#[source] CredentialError),
    #[error("the list of servers cannot be read")]
    Directory(#[source] CredentialError),
    #[error("an entry of the list of servers is not valid")]
    Entry(#[source] CredentialError),
    #[error("no token can be obtained")]
    Token(#[source] TokenError),
    #[error("the server {server} was listed for another tenant: list the tools for the tenant of the caller")]
    Tenant { server: Server },
    #[error("no server `{0}` is listed: check its id, and the list of servers")]
    Unlisted(String),
    #[error("the connections to the gateway cannot be set up")]
    Client(#[source] BuildError),
    #[error("the request to the server {server} failed")]
    Http { server: Server, source: HttpError },
    #[error("access to the server {server} could not be authorized")]
    Authorization { server: Server, source: AuthorizationError },
    #[error("the server {server} is not used while a user logs in to it")]
    LoginInProgress { server: Server },
    #[error("the server {server} responded with {status}{}", detail(message.as_deref()))]
    Status { server: Server, status: u16, message: Option<String> },
    #[error("the server {server} responded with an error: {message} ({code})")]
    Refused { server: Server, code: i32, message: String },
    #[error("the server {server} did not respond within {after:?}")]
    Timeout { server: Server, after: Duration },
    #[error("the server {server} violates the MCP protocol: {problem}")]
    Protocol { server: Server, problem: String },
    #[error("the tool `{tool}` of the server {server} is not valid: {problem}")]
    Malformed { server: Server, tool: String, problem: String },
    #[error("lost the connection to the server {server} before the response: the request may have been executed")]
    Closed { server: Server },
    #[error("invalid arguments for the tool `{tool}` of {server}: {problem}")]
    Arguments { server: Server, tool: String, problem: String },
    #[error("the tool `{tool}` of {server} failed; its result states the reason")]
    Tool { server: Server, tool: String, result: ToolResult },
}

fn detail(message: Option<&str>) -> String {
    message.map(|message| format!(": {message}")).unwrap_or_default()
}

impl From<Kind> for GatewayError {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl GatewayError {
    pub(crate) fn directory(source: CredentialError) -> Self {
        Kind::Directory(source).into()
    }

    pub(crate) fn entry(source: CredentialError) -> Self {
        Kind::Entry(source).into()
    }

    pub(crate) fn token(source: TokenError) -> Self {
        Kind::Token(source).into()
    }

    pub(crate) fn tenant(server: &Server) -> Self {
        Kind::Tenant { server: server.clone() }.into()
    }

    /// Maps an error of the credentials, before there is a request.
    pub(crate) fn setup(error: TransportError) -> Self {
        match error {
            TransportError::Credentials(source) => Kind::Credentials(source).into(),
            TransportError::Build(source) => Kind::Client(source).into(),
            other => Kind::Credentials(CredentialError::other("they cannot be read", other)).into(),
        }
    }

    pub(crate) fn unlisted(id: impl Into<String>) -> Self {
        Kind::Unlisted(id.into()).into()
    }

    pub(crate) fn timeout(server: &Server, after: Duration) -> Self {
        Kind::Timeout { server: server.clone(), after }.into()
    }

    pub(crate) fn protocol(server: &Server, problem: impl Into<String>) -> Self {
        Kind::Protocol { server: server.clone(), problem: problem.into() }.into()
    }

    pub(crate) fn arguments(server: &Server, tool: &str, problem: &str) -> Self {
        Kind::Arguments { server: server.clone(), tool: sanitize(tool), problem: sanitize(problem) }.into()
    }

    pub(crate) fn malformed(server: &Server, tool: &str, problem: &str) -> Self {
        Kind::Malformed { server: server.clone(), tool: sanitize(tool), problem: sanitize(problem) }.into()
    }

    pub(crate) fn tool(server: &Server, tool: &str, result: ToolResult) -> Self {
        Kind::Tool { server: server.clone(), tool: sanitize(tool), result }.into()
    }

    pub(crate) fn transport(server: &Server, error: TransportError) -> Self {
        let server = server.clone();
        match error {
            TransportError::Credentials(source) => Kind::Credentials(source).into(),
            TransportError::Build(source) => Kind::Client(source).into(),
            TransportError::Http(source) => Kind::Http { server, source }.into(),
            TransportError::Authorization(source) => Kind::Authorization { server, source }.into(),
            TransportError::LoginInProgress => Kind::LoginInProgress { server }.into(),
            TransportError::Status { status, message } => Kind::Status { server, status, message }.into(),
        }
    }

    /// Maps an error of a request.
    pub(crate) fn service(server: &Server, error: ServiceError) -> Self {
        match error {
            ServiceError::McpError(error) => Self::refused(server, &error),
            ServiceError::TransportSend(error) => Self::transport_send(server, error),
            ServiceError::TransportClosed | ServiceError::Cancelled { .. } => {
                Kind::Closed { server: server.clone() }.into()
            }
            _ => Self::protocol(server, "the response has the id of another request"),
        }
    }

    /// Maps an error of the start of a session.
    pub(crate) fn session_start(server: &Server, error: ClientInitializeError) -> Self {
        match error {
            ClientInitializeError::JsonRpcError(error) => Self::refused(server, &error),
            ClientInitializeError::TransportError { error, .. } => Self::transport_send(server, error),
            ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::Cancelled => {
                Kind::Closed { server: server.clone() }.into()
            }
            ClientInitializeError::LegacyFallbackFailed { fallback, .. } => Self::session_start(server, *fallback),
            ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. } => {
                let versions: Vec<_> = server_supported.iter().map(ProtocolVersion::as_str).collect();
                let versions = sanitize(&versions.join(", "));
                Self::protocol(server, format!("it supports only versions that this client does not: {versions}"))
            }
            _ => Self::protocol(server, "it does not start a session"),
        }
    }

    fn refused(server: &Server, error: &rmcp::ErrorData) -> Self {
        if is_replacement_error(error) {
            return Self::protocol(server, error.message.as_ref());
        }
        Kind::Refused { server: server.clone(), code: error.code.0, message: sanitize(&error.message) }.into()
    }

    fn transport_send(server: &Server, error: DynamicTransportError) -> Self {
        match error.error.downcast::<StreamableHttpError<TransportError>>().map(|error| *error) {
            Ok(StreamableHttpError::Client(error)) => Self::transport(server, error),
            Ok(StreamableHttpError::SessionExpired) => {
                Kind::Status { server: server.clone(), status: 404, message: None }.into()
            }
            Ok(StreamableHttpError::UnexpectedContentType(content_type)) => {
                let content_type = sanitize(content_type.as_deref().unwrap_or_default());
                Self::protocol(
                    server,
                    format!("the response is neither JSON nor an event stream, but `{content_type}`"),
                )
            }
            Ok(StreamableHttpError::UnexpectedServerResponse(problem)) => Self::protocol(server, problem),
            Ok(_) | Err(_) => Kind::Closed { server: server.clone() }.into(),
        }
    }

    /// Returns the server that failed, or `None` if the error does not concern a single server.
    pub fn server(&self) -> Option<&Server> {
        match &*self.0 {
            Kind::Credentials(_)
            | Kind::Directory(_)
            | Kind::Entry(_)
            | Kind::Token(_)
            | Kind::Unlisted(_)
            | Kind::Client(_) => None,
            Kind::Http { server, .. }
            | Kind::Authorization { server, .. }
            | Kind::LoginInProgress { server }
            | Kind::Status { server, .. }
            | Kind::Refused { server, .. }
            | Kind::Timeout { server, .. }
            | Kind::Protocol { server, .. }
            | Kind::Closed { server }
            | Kind::Tenant { server }
            | Kind::Malformed { server, .. }
            | Kind::Arguments { server, .. }
            | Kind::Tool { server, .. } => Some(server),
        }
    }

    /// Returns true if the credentials cannot be read or are invalid, or if no HTTP client can be built with them.
    /// Nothing was sent.
    pub fn is_credentials(&self) -> bool {
        matches!(*self.0, Kind::Credentials(_) | Kind::Client(_))
    }

    /// Returns true if the token request failed. [`token_error`](Self::token_error) returns the reason.
    pub fn is_token_error(&self) -> bool {
        self.token_error().is_some()
    }

    /// Returns the error of the token request, if it failed.
    pub fn token_error(&self) -> Option<&TokenError> {
        match &*self.0 {
            Kind::Token(source) => Some(source),
            Kind::Http { source, .. } if source.is_token_error() => source.source()?.downcast_ref(),
            Kind::Authorization { source, .. } => source.token_error(),
            _ => None,
        }
    }

    /// Returns the error of the authorization for a server with its own authorization server, or `None` for another
    /// error. The server did not execute the request.
    pub fn authorization_error(&self) -> Option<&AuthorizationError> {
        match &*self.0 {
            Kind::Authorization { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Returns true if the server was listed for a tenant other than the tenant of the principal. Nothing was sent.
    pub fn is_wrong_tenant(&self) -> bool {
        matches!(*self.0, Kind::Tenant { .. })
    }

    /// Returns true if a fragment of a tenant names an origin other than the origin of the gateway: see
    /// [`CredentialError::is_foreign_origin`]. No token was sent.
    pub fn is_foreign_origin(&self) -> bool {
        let causes = std::iter::successors(self.source(), |&error| error.source());
        causes.filter_map(|error| error.downcast_ref()).any(CredentialError::is_foreign_origin)
    }

    /// Returns true if no connection to the server was established. Nothing was sent.
    pub fn is_connect(&self) -> bool {
        matches!(&*self.0, Kind::Http { source, .. } if source.is_connect())
    }

    /// Returns true if the connection or the session ended before the response. The tool may have run.
    pub fn is_broken_off(&self) -> bool {
        match &*self.0 {
            Kind::Closed { .. } => true,
            Kind::Http { source, .. } => source.is_transport_error() && !source.is_connect(),
            _ => false,
        }
    }

    /// Returns true if the server rejected the token and its replacement. If no replacement could be obtained, the
    /// rejection of the first token is enough.
    pub fn is_unauthorized(&self) -> bool {
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            if error.downcast_ref().is_some_and(auth_core::TokenError::is_rejected) {
                return true;
            }
            source = error.source();
        }
        self.status() == Some(401) || self.authorization_error().is_some_and(AuthorizationError::is_rejected)
    }

    /// Returns the HTTP status of the server's error response, or `None` if there was no such response.
    pub fn status(&self) -> Option<u16> {
        match *self.0 {
            Kind::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Returns the error code in the server's response (JSON-RPC 2.0, section 5.1), or `None` if there was none.
    pub fn code(&self) -> Option<i32> {
        match *self.0 {
            Kind::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns true if no response arrived in time. The tool may have run.
    pub fn is_timeout(&self) -> bool {
        match &*self.0 {
            Kind::Timeout { .. } => true,
            Kind::Http { source, .. } => source.is_timeout(),
            _ => false,
        }
    }

    /// Returns true if the arguments do not match the schema of the tool. Nothing was sent.
    pub fn is_arguments(&self) -> bool {
        matches!(*self.0, Kind::Arguments { .. })
    }

    /// Returns true if the server violates the MCP protocol: a response, a tool or a list is not valid.
    pub fn is_protocol(&self) -> bool {
        matches!(*self.0, Kind::Protocol { .. } | Kind::Malformed { .. })
    }

    /// Returns true if a login is in progress. The session can be started after the login.
    pub(crate) fn is_login_in_progress(&self) -> bool {
        matches!(*self.0, Kind::LoginInProgress { .. })
    }

    /// Returns true if the server has responded with an error or an invalid response.
    pub(crate) fn is_response(&self) -> bool {
        matches!(*self.0, Kind::Status { .. } | Kind::Refused { .. } | Kind::Protocol { .. })
    }

    /// Returns the result of a tool that failed, or `None` for another error. Pass the result to the model, so that the
    /// model can correct its call.
    pub fn tool_result(&self) -> Option<&ToolResult> {
        match &*self.0 {
            Kind::Tool { result, .. } => Some(result),
            _ => None,
        }
    }
}
