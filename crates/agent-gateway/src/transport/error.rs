use auth_http::{BuildError, HttpError, Response};
use serde::Deserialize;

use super::MAX_ERROR_BYTES;
use crate::authorization::{AuthorizationError, SendError};
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

/// The message of an error response (JSON-RPC 2.0, section 5.1).
#[derive(Deserialize)]
struct ErrorResponse {
    error: ErrorObject,
}

#[derive(Deserialize)]
struct ErrorObject {
    message: String,
}

impl From<SendError> for TransportError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Authorization(error) => Self::Authorization(error),
            SendError::Http(error) => Self::Http(error),
        }
    }
}

impl TransportError {
    /// Maps an error response.
    pub(super) async fn from_response(response: Response) -> Self {
        let status = response.status();
        let body = response.bytes(MAX_ERROR_BYTES).await.unwrap_or_default();
        let error_response = serde_json::from_slice::<ErrorResponse>(&body).ok();
        Self::Status { status, message: error_response.map(|error_response| sanitize(&error_response.error.message)) }
    }
}

/// Returns a text of a server, truncated and without control characters.
pub(crate) fn sanitize(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_MESSAGE_CHARS).collect()
}
