use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why the API refuses, in the form of the real platform.
pub(crate) enum Problem {
    /// The gateway before the API did not let the request in: 401 in plain text.
    Gateway(&'static str),
    /// The payload breaks a business rule.
    BadRequest(String),
    Forbidden,
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Self::Gateway(text) => return (StatusCode::UNAUTHORIZED, text).into_response(),
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, json!(text)),
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
