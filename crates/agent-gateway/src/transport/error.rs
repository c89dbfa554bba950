use auth_http::{BuildError, HttpError, Response};
use serde::Deserialize;

use super::MAX_ERROR_BYTES;
use crate::authorization::{AuthorizationError, Failure};
use crate::credentials::CredentialError;

/// The maximum number of characters of a server message that an error shows.
const MAX_MESSAGE_CHARS: usize = 300;

/// The failure of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Authorization(AuthorizationError),
    #[error("a user logs in")]
    LoginInProgress,
    #[error("it responded with {status}{}", message.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Status { status: u16, message: Option<String> },
}

/// An error response (JSON-RPC 2.0, section 5.1), reduced to its message.
#[derive(Deserialize)]
struct Complaint {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    message: String,
}

impl From<Failure> for TransportError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Authorization(error) => Self::Authorization(error),
            Failure::Http(error) => Self::Http(error),
        }
    }
}

impl TransportError {
    /// Maps an error response.
    pub(super) async fn refusal(response: Response) -> Self {
        let status = response.status();
        let body = response.bytes(MAX_ERROR_BYTES).await.unwrap_or_default();
        let complaint = serde_json::from_slice::<Complaint>(&body).ok();
        Self::Status { status, message: complaint.map(|complaint| shown(&complaint.error.message)) }
    }
}

/// Returns a server's text without control characters, truncated.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_MESSAGE_CHARS).collect()
}
