//! Requests of web pages from other origins that the configuration allows (CORS).

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::config::Config;

/// The time for which a browser may cache the response to a preflight request, in seconds.
const PREFLIGHT_MAX_AGE: &str = "3600";

/// The origin of a request, which the configuration allows.
pub(super) struct AllowedOrigin(HeaderValue);

impl AllowedOrigin {
    /// Returns the origin of a request, if the configuration allows it.
    pub(super) fn of_request(config: &Config, headers: &HeaderMap) -> Option<Self> {
        let origin = headers.get(header::ORIGIN)?;
        let is_allowed = config.cors_origins.iter().any(|allowed| allowed == "*" || origin == allowed.as_str());
        is_allowed.then(|| Self(origin.clone()))
    }

    /// Returns the response to a preflight request, or `None` for other requests. The caller must check the origin.
    pub(super) fn preflight_response(method: &Method, headers: &HeaderMap) -> Option<Response> {
        let is_preflight = method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let preflight_headers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE")),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE)),
        ];
        let mut response = (StatusCode::NO_CONTENT, preflight_headers).into_response();
        if let Some(names) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        Some(response)
    }

    /// Adds the headers that permit pages of the origin to read the response.
    pub(super) fn add_headers(self, headers: &mut HeaderMap) {
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.0);
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}
