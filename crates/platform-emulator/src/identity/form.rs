//! Request parameters of the identity provider, and its error responses.

use std::collections::HashMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::account::AUDIENCE;

/// An error response (RFC 6749, section 5.2).
#[derive(Debug)]
pub(crate) struct OAuthError {
    code: &'static str,
    description: &'static str,
}

impl OAuthError {
    pub(crate) fn new(code: &'static str, description: &'static str) -> Self {
        Self { code, description }
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn description(&self) -> &'static str {
        self.description
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let status = match self.code {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let body = Json(json!({ "error": self.code, "error_description": self.description }));
        let mut response =
            (status, [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = header::HeaderValue::from_static("Basic realm=\"emulator\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Request parameters without duplicates (RFC 6749, section 3.2).
pub(super) struct Form(HashMap<String, String>);

impl Form {
    /// Creates a form from pairs. Duplicate names are rejected.
    pub(super) fn from_pairs(pairs: impl Iterator<Item = (String, String)>) -> Result<Self, OAuthError> {
        let mut form = HashMap::new();
        for (name, value) in pairs {
            if form.insert(name, value).is_some() {
                return Err(OAuthError::new("invalid_request", "a parameter was sent twice"));
            }
        }
        Ok(Self(form))
    }

    pub(super) fn from_query(query: &str) -> Result<Self, OAuthError> {
        Self::from_pairs(form_urlencoded::parse(query.as_bytes()).into_owned())
    }

    /// Returns a parameter, or `None` if it is absent or empty.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns a parameter, or an error with `missing_message` if it is absent or empty.
    pub(super) fn required(&self, name: &str, missing_message: &'static str) -> Result<&str, OAuthError> {
        self.value(name).ok_or(OAuthError::new("invalid_request", missing_message))
    }

    /// Checks the requested audience and resource (RFC 8707, section 2). `code` is the error code of an unknown
    /// audience.
    pub(super) fn check_audience(&self, code: &'static str) -> Result<(), OAuthError> {
        if self.value("audience").is_some_and(|audience| audience != AUDIENCE) {
            return Err(OAuthError::new(code, "unknown audience"));
        }
        if self.value("resource").is_some_and(|resource| resource != AUDIENCE) {
            return Err(OAuthError::new("invalid_target", "unknown resource"));
        }
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = OAuthError;

    /// Accepts forms, and JSON objects of strings.
    async fn from_request(request: Request, state: &S) -> Result<Self, OAuthError> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = content_type.is_some_and(|content_type| content_type.starts_with("application/json"));
        let is_form =
            content_type.is_none_or(|content_type| content_type.starts_with("application/x-www-form-urlencoded"));
        let malformed = OAuthError::new("invalid_request", "the body is neither a form nor a JSON object of strings");
        let Ok(bytes) = Bytes::from_request(request, state).await else { return Err(malformed) };
        if is_form {
            return Self::from_pairs(form_urlencoded::parse(&bytes).into_owned());
        }
        let object: Option<HashMap<String, Value>> = serde_json::from_slice(&bytes).ok().filter(|_| is_json);
        let text_field = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
        object.and_then(|object| object.into_iter().map(text_field).collect::<Option<_>>()).map(Self).ok_or(malformed)
    }
}
