use std::error::Error;
use std::time::Duration;

use auth_core::TokenError;
use auth_http::{BuildError, HttpError};
use rmcp::ServiceError;
use rmcp::service::ClientInitializeError;
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

use crate::credentials::CredentialError;
use crate::result::ToolResult;
use crate::server::Server;
use crate::transport::{TransportError, shown};

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
    #[error("no server is listed for the API `{0}`: check its name, and the dependencies of the credentials")]
    Unlisted(String),
    #[error("the connections to the gateway cannot be set up")]
    Client(#[source] BuildError),
    #[error("the request to the server {server} failed")]
    Http { server: Server, source: HttpError },
    #[error("the server {server} responded with {status}{}", detail(message.as_deref()))]
    Status { server: Server, status: u16, message: Option<String> },
    #[error("the server {server} responded with an error: {message} ({code})")]
    Refused { server: Server, code: i32, message: String },
    #[error("the server {server} did not respond within {after:?}")]
    Timeout { server: Server, after: Duration },
    #[error("the server {server} violates the MCP protocol: {problem}")]
    Protocol { server: Server, problem: String },
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

    pub(crate) fn unlisted(ord_id: impl Into<String>) -> Self {
        Kind::Unlisted(ord_id.into()).into()
    }

    pub(crate) fn timeout(server: &Server, after: Duration) -> Self {
        Kind::Timeout { server: server.clone(), after }.into()
    }

    pub(crate) fn protocol(server: &Server, problem: impl Into<String>) -> Self {
        Kind::Protocol { server: server.clone(), problem: problem.into() }.into()
    }

    pub(crate) fn arguments(server: &Server, tool: &str, problem: &str) -> Self {
        Kind::Arguments { server: server.clone(), tool: shown(tool), problem: shown(problem) }.into()
    }

    pub(crate) fn tool(server: &Server, tool: &str, result: ToolResult) -> Self {
        Kind::Tool { server: server.clone(), tool: shown(tool), result }.into()
    }

    pub(crate) fn transport(server: &Server, error: TransportError) -> Self {
        let server = server.clone();
        match error {
            TransportError::Credentials(source) => Kind::Credentials(source).into(),
            TransportError::Build(source) => Kind::Client(source).into(),
            TransportError::Http(source) => Kind::Http { server, source }.into(),
            TransportError::Status { status, message } => Kind::Status { server, status, message }.into(),
        }
    }

    /// Maps an error of a request.
    pub(crate) fn service(server: &Server, error: ServiceError) -> Self {
        match error {
            ServiceError::McpError(error) => Self::refused(server, &error),
            ServiceError::TransportSend(error) => Self::dynamic(server, error),
            ServiceError::TransportClosed | ServiceError::Cancelled { .. } => {
                Kind::Closed { server: server.clone() }.into()
            }
            _ => Self::protocol(server, "the response has the id of another request"),
        }
    }

    /// Maps an error of the start of a session.
    pub(crate) fn beginning(server: &Server, error: ClientInitializeError) -> Self {
        match error {
            ClientInitializeError::JsonRpcError(error) => Self::refused(server, &error),
            ClientInitializeError::TransportError { error, .. } => Self::dynamic(server, error),
            ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::Cancelled => {
                Kind::Closed { server: server.clone() }.into()
            }
            _ => Self::protocol(server, "it does not begin a session"),
        }
    }

    fn refused(server: &Server, error: &rmcp::ErrorData) -> Self {
        Kind::Refused { server: server.clone(), code: error.code.0, message: shown(&error.message) }.into()
    }

    fn dynamic(server: &Server, error: DynamicTransportError) -> Self {
        match error.error.downcast::<StreamableHttpError<TransportError>>().map(|error| *error) {
            Ok(StreamableHttpError::Client(error)) => Self::transport(server, error),
            Ok(StreamableHttpError::SessionExpired) => {
                Kind::Status { server: server.clone(), status: 404, message: None }.into()
            }
            Ok(StreamableHttpError::UnexpectedContentType(stated)) => {
                let stated = shown(stated.as_deref().unwrap_or_default());
                Self::protocol(server, format!("the response is neither JSON nor an event stream, but `{stated}`"))
            }
            Ok(StreamableHttpError::UnexpectedServerResponse(problem)) => Self::protocol(server, problem),
            Ok(_) | Err(_) => Kind::Closed { server: server.clone() }.into(),
        }
    }

    /// Returns the server of the error, if it concerns one.
    pub fn server(&self) -> Option<&Server> {
        match &*self.0 {
            Kind::Credentials(_) | Kind::Directory(_) | Kind::Unlisted(_) | Kind::Client(_) => None,
            Kind::Http { server, .. }
            | Kind::Status { server, .. }
            | Kind::Refused { server, .. }
            | Kind::Timeout { server, .. }
            | Kind::Protocol { server, .. }
            | Kind::Closed { server }
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
            Kind::Http { source, .. } if source.is_token_error() => source.source()?.downcast_ref(),
            _ => None,
        }
    }

    /// Returns true if no connection to the server was established. Nothing was sent.
    pub fn is_connect(&self) -> bool {
        matches!(&*self.0, Kind::Http { source, .. } if source.is_connect())
    }

    /// Returns true if the connection or the session ended before the response. The tool may have run.
    pub fn is_broken_off(&self) -> bool {
        match &*self.0 {
            Kind::Closed { .. } => true,
            Kind::Http { source, .. } => source.is_broken() && !source.is_connect(),
            _ => false,
        }
    }

    /// Returns true if the server rejected the token, and also a new one if it could be obtained.
    pub fn is_unauthorized(&self) -> bool {
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            if error.downcast_ref().is_some_and(auth_core::TokenError::is_rejected) {
                return true;
            }
            source = error.source();
        }
        self.status() == Some(401)
    }

    /// Returns the HTTP status of the server's response, if it is an error.
    pub fn status(&self) -> Option<u16> {
        match *self.0 {
            Kind::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Returns the code of the server's error response (JSON-RPC 2.0, section 5.1), if any.
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

    /// Returns the result of a tool that failed. Pass it to the model, which may correct its call.
    pub fn tool_result(&self) -> Option<&ToolResult> {
        match &*self.0 {
            Kind::Tool { result, .. } => Some(result),
            _ => None,
        }
    }
}
