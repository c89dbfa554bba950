use std::error::Error;
use std::time::Duration;

use auth_core::TokenError;
use auth_http::{BuildError, HttpError};

use super::part::Flaw;
use crate::authorization::AuthorizationError;
use crate::credentials::CredentialError;
use crate::server::AgentAddress;
use crate::transport::{TransportError, sanitize};

/// An error of listing A2A agents. It names the agent, and never shows a token or the text of a card.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AgentCardError(Box<Kind>);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the list of agents cannot be read")]
    Directory(#[source] CredentialError),
    #[error("an entry of the list of agents is not valid")]
    Entry(#[source] CredentialError),
    #[error("no agent `{0}` is listed: check its id, and the list of agents")]
    Unlisted(String),
    #[error("the credentials of the gateway cannot be used")]
    Credentials(#[source] CredentialError),
    #[error("the connections to the gateway cannot be set up")]
    Client(#[source] BuildError),
    #[error("the agent {0} was listed for another tenant: list the agents for the tenant of the caller")]
    Tenant(AgentAddress),
    #[error("the request for the card of the agent {agent} failed")]
    Http { agent: AgentAddress, source: HttpError },
    #[error("the agent {agent} requires a login, which failed")]
    Authorization { agent: AgentAddress, source: AuthorizationError },
    #[error("the agent {0} requires a login, which is in progress: list the agents again after it")]
    LoginInProgress(AgentAddress),
    #[error("the agent {agent} did not respond with its card within {after:?}")]
    Timeout { agent: AgentAddress, after: Duration },
    #[error("the agent {agent} responded with {status} instead of its card")]
    Status { agent: AgentAddress, status: u16 },
    #[error("the agent {agent} redirects to {target}: redirects are not followed; correct the URL of the agent")]
    Redirect { agent: AgentAddress, target: String },
    #[error("the card of the agent {agent} is not JSON, but `{content_type}`")]
    MediaType { agent: AgentAddress, content_type: String },
    #[error("the card of the agent {agent} is not valid: {problem}")]
    Invalid { agent: AgentAddress, field: Option<String>, problem: String },
    #[error(
        "the card of the agent {agent} has an interface at another origin: `{field}` is at {origin}; permit it with `with_agent_origin` if it is trusted"
    )]
    Origin { agent: AgentAddress, field: String, origin: String },
}

impl From<Kind> for AgentCardError {
    fn from(kind: Kind) -> Self {
        Self(Box::new(kind))
    }
}

impl AgentCardError {
    pub(crate) fn directory(source: CredentialError) -> Self {
        Kind::Directory(source).into()
    }

    pub(crate) fn entry(source: CredentialError) -> Self {
        Kind::Entry(source).into()
    }

    pub(crate) fn unlisted(id: &str) -> Self {
        Kind::Unlisted(sanitize(id)).into()
    }

    pub(super) fn tenant(agent: &AgentAddress) -> Self {
        Kind::Tenant(agent.clone()).into()
    }

    pub(crate) fn timeout(agent: &AgentAddress, after: Duration) -> Self {
        Kind::Timeout { agent: agent.clone(), after }.into()
    }

    pub(super) fn unexpected_status(agent: &AgentAddress, status: u16) -> Self {
        Kind::Status { agent: agent.clone(), status }.into()
    }

    pub(super) fn redirect(agent: &AgentAddress, target: &str) -> Self {
        Kind::Redirect { agent: agent.clone(), target: sanitize(target) }.into()
    }

    pub(super) fn media_type(agent: &AgentAddress, content_type: &str) -> Self {
        Kind::MediaType { agent: agent.clone(), content_type: sanitize(content_type) }.into()
    }

    pub(super) fn http(agent: &AgentAddress, source: HttpError) -> Self {
        Kind::Http { agent: agent.clone(), source }.into()
    }

    pub(super) fn transport(agent: &AgentAddress, error: TransportError) -> Self {
        match error {
            TransportError::Credentials(source) => Kind::Credentials(source).into(),
            TransportError::Build(source) => Kind::Client(source).into(),
            TransportError::Http(source) => Self::http(agent, source),
            TransportError::Authorization(source) => Kind::Authorization { agent: agent.clone(), source }.into(),
            TransportError::LoginInProgress => Kind::LoginInProgress(agent.clone()).into(),
            TransportError::Status { status, .. } => Self::unexpected_status(agent, status),
        }
    }

    pub(super) fn flaw(agent: &AgentAddress, flaw: Flaw) -> Self {
        let agent = agent.clone();
        match flaw {
            Flaw::Document(problem) => Kind::Invalid { agent, field: None, problem: problem.to_owned() }.into(),
            Flaw::Field(field, expected) => {
                let problem = format!("`{field}` must be {expected}");
                Kind::Invalid { agent, field: Some(field), problem }.into()
            }
            Flaw::Origin(field, origin) => Kind::Origin { agent, field, origin: sanitize(&origin) }.into(),
        }
    }

    /// Returns the agent that failed, or `None` if the error does not concern a single agent.
    pub fn agent(&self) -> Option<&AgentAddress> {
        match &*self.0 {
            Kind::Directory(_) | Kind::Entry(_) | Kind::Unlisted(_) | Kind::Credentials(_) | Kind::Client(_) => None,
            Kind::Tenant(agent)
            | Kind::Authorization { agent, .. }
            | Kind::LoginInProgress(agent)
            | Kind::Http { agent, .. }
            | Kind::Timeout { agent, .. }
            | Kind::Status { agent, .. }
            | Kind::Redirect { agent, .. }
            | Kind::MediaType { agent, .. }
            | Kind::Invalid { agent, .. }
            | Kind::Origin { agent, .. } => Some(agent),
        }
    }

    /// Returns true if the credentials cannot be read or are invalid, or if no HTTP client can be built with them.
    pub fn is_credentials(&self) -> bool {
        matches!(*self.0, Kind::Credentials(_) | Kind::Client(_))
    }

    /// Returns the error of the token request, if it failed.
    pub fn token_error(&self) -> Option<&TokenError> {
        match &*self.0 {
            Kind::Http { source, .. } if source.is_token_error() => source.source()?.downcast_ref(),
            _ => None,
        }
    }

    /// Returns true if no connection to the agent was established.
    pub fn is_connect(&self) -> bool {
        matches!(&*self.0, Kind::Http { source, .. } if source.is_connect())
    }

    /// Returns true if the card did not arrive in time.
    pub fn is_timeout(&self) -> bool {
        match &*self.0 {
            Kind::Timeout { .. } => true,
            Kind::Http { source, .. } => source.is_timeout(),
            _ => false,
        }
    }

    /// Returns the HTTP status of the response, if it is neither a success nor a redirect.
    pub fn status(&self) -> Option<u16> {
        match *self.0 {
            Kind::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Returns true if the agent responded with a redirect. It was not followed.
    pub fn is_redirect(&self) -> bool {
        matches!(*self.0, Kind::Redirect { .. })
    }

    /// Returns true if the card is larger than 1 MiB.
    pub fn is_too_large(&self) -> bool {
        matches!(&*self.0, Kind::Http { source, .. } if source.is_too_large())
    }

    /// Returns true if the response is not a valid card: it is not JSON, or a field is missing or invalid.
    pub fn is_invalid(&self) -> bool {
        matches!(*self.0, Kind::MediaType { .. } | Kind::Invalid { .. })
    }

    /// Returns the field that is missing or invalid, such as `skills[2].id`.
    pub fn field(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Invalid { field, .. } => field.as_deref(),
            Kind::Origin { field, .. } => Some(field),
            _ => None,
        }
    }

    /// Returns true if the card has an interface at an origin that is not permitted.
    pub fn is_other_origin(&self) -> bool {
        matches!(*self.0, Kind::Origin { .. })
    }

    /// Returns true if the agent was listed for a tenant other than the tenant of the principal. Nothing was sent.
    pub fn is_wrong_tenant(&self) -> bool {
        matches!(*self.0, Kind::Tenant(_))
    }
}
