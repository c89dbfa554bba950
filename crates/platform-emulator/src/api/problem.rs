//! Error responses of the API.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::identity::INVALID_TOKEN;
use crate::state::StoreWriteError;

/// An API error, in the format of the real platform.
pub(crate) enum Problem {
    /// The gateway rejected the request: 401 in plain text.
    Unauthorized(&'static str),
    /// The gateway rejected the token of the request: 401 in plain text.
    InvalidToken,
    /// The payload violates a business rule.
    BadRequest(String),
    /// The organization has reached its slide quota.
    QuotaExceeded,
    Forbidden,
    NotFound(&'static str),
    MethodNotAllowed,
    /// The operation is not possible in the current state of the resource.
    Conflict(&'static str),
    /// The resource has been deleted.
    Gone,
    /// The resource has changed since the client read it.
    PreconditionFailed,
    TooLarge,
    /// The request is malformed: a list of locations and messages.
    Invalid(Vec<(Value, String)>),
    /// An error of the emulator itself.
    Internal(String),
}

impl Problem {
    pub(crate) fn invalid(location: Value, message: impl Into<String>) -> Self {
        Self::Invalid(vec![(location, message.into())])
    }
}

impl From<StoreWriteError> for Problem {
    fn from(error: StoreWriteError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::Unauthorized(text) => return (StatusCode::UNAUTHORIZED, text).into_response(),
            Self::InvalidToken => {
                let challenge = [(header::WWW_AUTHENTICATE, INVALID_TOKEN)];
                return (StatusCode::UNAUTHORIZED, challenge, "Jwt verification fails").into_response();
            }
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, json!(text)),
            Self::QuotaExceeded => (StatusCode::PAYMENT_REQUIRED, json!("Slide quota exceeded")),
            Self::Forbidden => (StatusCode::FORBIDDEN, json!("You do not have the permission")),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, json!(text)),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, json!("Method Not Allowed")),
            Self::Conflict(text) => (StatusCode::CONFLICT, json!(text)),
            Self::Gone => (StatusCode::GONE, json!("The artifact has been deleted")),
            Self::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, json!("The checksum does not match the current metadata"))
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, json!("The body is larger than 64 MiB")),
            Self::Invalid(problems) => {
                let problems =
                    problems.into_iter().map(|(loc, msg)| json!({ "loc": loc, "msg": msg, "type": "value_error" }));
                (StatusCode::UNPROCESSABLE_ENTITY, problems.collect())
            }
            Self::Internal(text) => (StatusCode::INTERNAL_SERVER_ERROR, json!(text)),
        };
        (status, Json(json!({ "detail": detail }))).into_response()
    }
}
