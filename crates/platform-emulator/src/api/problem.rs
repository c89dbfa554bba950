use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::state::NotWritten;

/// Why the API refuses, in the form of the real platform.
pub(crate) enum Problem {
    /// The gateway before the API did not let the request in: 401 in plain text.
    Gateway(&'static str),
    /// The payload breaks a business rule.
    BadRequest(String),
    /// The organisation has submitted as many slides as it may.
    QuotaExceeded,
    Forbidden,
    /// It has been done already.
    Conflict(&'static str),
    /// The emulator itself could not go on.
    Internal(String),
    NotFound(&'static str),
    /// The request is malformed: a place and a message each.
    Invalid(Vec<(Value, String)>),
}

impl Problem {
    /// One malformed part of the request.
    pub(crate) fn invalid(place: Value, message: impl Into<String>) -> Self {
        Self::Invalid(vec![(place, message.into())])
    }
}

impl From<NotWritten> for Problem {
    fn from(error: NotWritten) -> Self {
        Self::Internal(error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::Gateway(text) => return (StatusCode::UNAUTHORIZED, text).into_response(),
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, json!(text)),
            Self::QuotaExceeded => (StatusCode::PAYMENT_REQUIRED, json!("Slide quota exceeded")),
            Self::Conflict(text) => (StatusCode::CONFLICT, json!(text)),
            Self::Internal(text) => (StatusCode::INTERNAL_SERVER_ERROR, json!(text)),
            Self::Forbidden => (StatusCode::FORBIDDEN, json!("Forbidden")),
            Self::NotFound(text) => (StatusCode::NOT_FOUND, json!(text)),
            Self::Invalid(problems) => {
                let problems =
                    problems.into_iter().map(|(loc, msg)| json!({ "loc": loc, "msg": msg, "type": "value_error" }));
                (StatusCode::UNPROCESSABLE_ENTITY, problems.collect())
            }
        };
        (status, Json(json!({ "detail": detail }))).into_response()
    }
}
