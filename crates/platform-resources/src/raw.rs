//! Requests that no generated operation covers.

mod pages;

use std::fmt;

use auth_http::{Method, Request};
use serde_json::Value;
use url::Url;

use crate::client::Client;
use crate::effect::Effect;
use crate::error::{Error, RawRequestError};
use crate::raw_response::{RawResponse, masked};

/// The prefix of all paths of the API.
const API_PREFIX: &str = "/api";
/// The headers that a caller must not set, because the client sets them, or because they affect the connection. They
/// could send the token to another server, or replace the credential.
const FORBIDDEN_HEADERS: [&str; 13] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// The headers by which some servers replace the method of a request. A caller must not set them, because the client
/// determines the effect of a request from its method.
const METHOD_OVERRIDE_HEADERS: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];

/// A request to the platform's origin. It is sent with the client's token. The `Debug` output contains neither the
/// query nor the body.
pub struct RawRequest {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl RawRequest {
    /// Creates a request for a path, such as `/v1/me` or `/api/v1/me`.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), headers: Vec::new(), body: None }
    }

    /// Adds a parameter to the query.
    pub fn with_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Adds a header.
    ///
    /// # Errors
    ///
    /// [`RawRequestError::Header`]: the header must not be set, such as `Authorization` or `Host`.
    /// [`RawRequestError::InvalidHeader`]: the name or the value is not valid.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RawRequestError> {
        let (name, value) = (name.into(), value.into());
        let lowercase_name = name.to_ascii_lowercase();
        if FORBIDDEN_HEADERS.contains(&lowercase_name.trim())
            || METHOD_OVERRIDE_HEADERS.contains(&lowercase_name.trim())
        {
            return Err(RawRequestError::Header(name));
        }
        // RFC 9110, sections 5.1 and 5.5.
        let is_token_character =
            |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character);
        let is_visible = |character: char| character == '\t' || (' '..='~').contains(&character);
        if name.is_empty() || !name.chars().all(is_token_character) || !value.chars().all(is_visible) {
            return Err(RawRequestError::InvalidHeader(name));
        }
        self.headers.push((name, value));
        Ok(self)
    }

    /// Sets the body. It is sent as JSON, unless a header `Content-Type` is added.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets the body to a JSON object with these fields. Each value is sent as a JSON string, unless it is a number,
    /// `true`, `false` or `null`.
    ///
    /// ```
    /// use auth_http::Method;
    /// use platform_resources::RawRequest;
    ///
    /// let request = RawRequest::new(Method::Put, "/v1/example").with_fields([("name", "a"), ("count", "2")]);
    /// ```
    pub fn with_fields<'a>(self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let json_value = |text: &str| match serde_json::from_str(text) {
            Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => value,
            _ => Value::String(text.to_owned()),
        };
        let members = fields.into_iter().map(|(name, text)| (name.to_owned(), json_value(text))).collect();
        self.with_body(Value::Object(members).to_string())
    }

    /// Returns the URL of the request on the platform at `api_root`. If `api_root` has a path, it is prepended, as for
    /// all operations.
    ///
    /// # Errors
    ///
    /// [`RawRequestError::OtherOrigin`]: the URL would be on another origin, or not below the path of `api_root`.
    pub fn url(&self, api_root: &Url) -> Result<Url, RawRequestError> {
        let other_origin = || RawRequestError::OtherOrigin(api_root.origin().ascii_serialization());
        let root = api_root.as_str().trim_end_matches('/');
        let prefix = api_root.path().trim_end_matches('/');
        let path = self.path.strip_prefix(root).unwrap_or(&self.path);
        // A path without a leading slash could be a URL with a scheme. A path with two leading slashes could name
        // another host.
        if !path.starts_with('/') || path.starts_with("//") || path.starts_with("/\\") {
            return Err(other_origin());
        }
        let path = if path.starts_with("/v1/") { format!("{API_PREFIX}{path}") } else { path.to_owned() };
        let mut url = api_root.join(&format!("{prefix}{path}")).map_err(|_| other_origin())?;
        // Segments `..` must not lead out of the path of the root.
        let is_below = url.path().strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        if url.origin() != api_root.origin() || !is_below {
            return Err(other_origin());
        }
        url.set_fragment(None);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }

    /// Returns true if the request submits a run. The run is billed, and a repeated request submits another run.
    pub fn is_submission(&self, api_root: &Url) -> bool {
        let is_runs_path = |url: Url| normalize_path(url.path()).ends_with("/v1/runs");
        self.method == Method::Post && self.url(api_root).is_ok_and(is_runs_path)
    }

    fn effect(&self, api_root: &Url) -> Effect {
        match self.method {
            Method::Get | Method::Head => Effect::Reads,
            _ if self.is_submission(api_root) => Effect::Submits,
            _ => Effect::Changes,
        }
    }

    fn to_request(&self, url: &Url) -> Request {
        let find_header = |name: &str| self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        let mut request = Request::new(self.method, url.clone());
        if let Some(body) = &self.body {
            // `Request::with_body` sets the content type, so it is not added as a header.
            let content_type = find_header("content-type").map_or("application/json", |(_, content_type)| content_type);
            request = request.with_body(content_type, body.clone());
        }
        if find_header("accept").is_none() {
            request = request.with_header("accept", "application/json");
        }
        let is_content_type = |name: &str| self.body.is_some() && name.eq_ignore_ascii_case("content-type");
        let other_headers = self.headers.iter().filter(|(name, _)| !is_content_type(name));
        other_headers.fold(request, |request, (name, value)| request.with_header(name, value))
    }
}

/// Returns a path as a server may interpret it: decoded, and without empty segments, dot segments and parameters.
fn normalize_path(path: &str) -> String {
    let mut path = path.to_owned();
    // The path is decoded several times, because a proxy may decode it before the server.
    for _ in 0..3 {
        path = percent_decode(&path);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split(['/', '\\']) {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Returns the path with percent-encoded bytes decoded. Invalid sequences remain unchanged.
fn percent_decode(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Debug for RawRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        write!(formatter, "RawRequest({} {})", self.method, auth_core::redacted_text(path))
    }
}

impl Client {
    /// Returns `value` with the secrets of the platform masked, like [`RawResponse::masked_json`].
    pub fn masked_json(value: Value) -> Value {
        masked::json(value)
    }

    /// Sends a request that no generated operation covers, and returns the response with any status. GET and HEAD
    /// requests are retried; other requests are retried only if no byte was sent. After a 401, the request is sent once
    /// more with another token.
    ///
    /// # Errors
    ///
    /// The request is not valid (see [`RawRequest::url`]), no token is available, or no response arrived.
    /// [`Error::is_submission_uncertain`]: the request submits a run, and the platform may have received it.
    pub async fn raw(&self, request: &RawRequest) -> Result<RawResponse, Error> {
        let root = &self.settings().api_root;
        let url = request.url(root).map_err(Error::raw_request)?;
        self.core.raw(|| request.to_request(&url), request.effect(root)).await
    }
}

#[cfg(test)]
mod tests;
