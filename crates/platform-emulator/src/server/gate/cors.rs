//! Requests from pages of other origins that the configuration permits (CORS).

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::config::Config;

/// The time for which a browser may keep the answer to a preflight request, in seconds.
const KEPT: &str = "3600";

/// The permitted origin of a request.
pub(super) struct Permitted(HeaderValue);

impl Permitted {
    /// Returns the origin of a request, if the configuration permits it.
    pub(super) fn of(config: &Config, headers: &HeaderMap) -> Option<Self> {
        let origin = headers.get(header::ORIGIN)?;
        let permitted = config.cors_origins.iter().any(|permitted| permitted == "*" || origin == permitted.as_str());
        permitted.then(|| Self(origin.clone()))
    }

    /// Returns the response to a preflight request.
    pub(super) fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asked = method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !asked {
            return None;
        }
        let permitted = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE")),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(KEPT)),
        ];
        let mut response = (StatusCode::NO_CONTENT, permitted).into_response();
        if let Some(names) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        Some(response)
    }

    /// Lets pages of the origin read a response.
    pub(super) fn permit(self, headers: &mut HeaderMap) {
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.0);
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}
