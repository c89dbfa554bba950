use auth_http::{BuildError, HttpError, Response};
use serde::Deserialize;

use super::LARGEST_COMPLAINT;
use crate::CredentialError;

/// So much of what a server says about an error is shown.
const LONGEST_MESSAGE: usize = 300;

/// Why there is no good answer to a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("it answered {status}{}", message.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Status { status: u16, message: Option<String> },
}

/// An error of JSON-RPC (section 5.1), of which only the message matters here.
#[derive(Deserialize)]
struct Complaint {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    message: String,
}

impl TransportError {
    /// What an answer other than a good one means.
    pub(super) async fn refusal(response: Response) -> Self {
        let status = response.status();
        let body = response.bytes(LARGEST_COMPLAINT).await.unwrap_or_default();
        let complaint = serde_json::from_slice::<Complaint>(&body).ok();
        Self::Status { status, message: complaint.map(|complaint| shown(&complaint.error.message)) }
    }
}

/// Text of a server, without anything that could be more than text where it is shown.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_MESSAGE).collect()
}
