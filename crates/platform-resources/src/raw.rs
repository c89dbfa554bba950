//! Requests that no typed operation covers.

mod pages;

use std::fmt;

use auth_http::{Method, Request};
use serde_json::Value;
use url::Url;

use crate::client::Client;
use crate::effect::Effect;
use crate::error::{Error, RawRequestError};
use crate::raw_response::{RawResponse, masked};

/// The prefix of the API's paths.
const PREFIX: &str = "/api";
/// Headers that the client sets itself, or that change the connection. A caller could otherwise send the token elsewhere,
/// or another credential.
const FORBIDDEN: [&str; 13] = [
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
/// Headers with which some servers replace the method. A request would have another effect than its method.
const METHODS: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];

/// A request to the platform's origin, with the token of the client. `Debug` shows neither query nor body.
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
    /// [`RawRequestError::Header`]: the client sets it, such as `Authorization` and `Host`.
    /// [`RawRequestError::InvalidHeader`].
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RawRequestError> {
        let (name, value) = (name.into(), value.into());
        let lower = name.to_ascii_lowercase();
        if FORBIDDEN.contains(&lower.trim()) || METHODS.contains(&lower.trim()) {
            return Err(RawRequestError::Header(name));
        }
        // RFC 9110, sections 5.1 and 5.5.
        let is_word = |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character);
        let is_visible = |character: char| character == '\t' || (' '..='~').contains(&character);
        if name.is_empty() || !name.chars().all(is_word) || !value.chars().all(is_visible) {
            return Err(RawRequestError::InvalidHeader(name));
        }
        self.headers.push((name, value));
        Ok(self)
    }

    /// Sets the body, which is JSON unless a header `Content-Type` is added.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Returns the URL of the request at a platform. A path of `api_root` is prepended, as for all operations.
    ///
    /// # Errors
    ///
    /// [`RawRequestError::OtherOrigin`].
    pub fn url(&self, api_root: &Url) -> Result<Url, RawRequestError> {
        let elsewhere = || RawRequestError::OtherOrigin(api_root.origin().ascii_serialization());
        let root = api_root.as_str().trim_end_matches('/');
        let prefix = api_root.path().trim_end_matches('/');
        let path = self.path.strip_prefix(root).unwrap_or(&self.path);
        // A path without a slash could name a scheme, and one with two another host.
        if !path.starts_with('/') || path.starts_with("//") || path.starts_with("/\\") {
            return Err(elsewhere());
        }
        let path = if path.starts_with("/v1/") { format!("{PREFIX}{path}") } else { path.to_owned() };
        let mut url = api_root.join(&format!("{prefix}{path}")).map_err(|_| elsewhere())?;
        // Segments `..` must not leave the path of the root.
        let is_below = url.path().strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        if url.origin() != api_root.origin() || !is_below {
            return Err(elsewhere());
        }
        url.set_fragment(None);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }

    /// Returns true for a submission, which is billed and is not protected from being sent twice.
    pub fn is_submission(&self, api_root: &Url) -> bool {
        let is_runs = |url: Url| normalized(url.path()).ends_with("/v1/runs");
        self.method == Method::Post && self.url(api_root).is_ok_and(is_runs)
    }

    fn effect(&self, api_root: &Url) -> Effect {
        match self.method {
            Method::Get | Method::Head => Effect::Reads,
            _ if self.is_submission(api_root) => Effect::Submits,
            _ => Effect::Changes,
        }
    }

    fn prepared(&self, url: &Url) -> Request {
        let found = |name: &str| self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        let mut request = Request::new(self.method, url.clone());
        if let Some(body) = &self.body {
            // `with_body` sets the type.
            let kind = found("content-type").map_or("application/json", |(_, kind)| kind);
            request = request.with_body(kind, body.clone());
        }
        if found("accept").is_none() {
            request = request.with_header("accept", "application/json");
        }
        let is_set = |name: &str| self.body.is_some() && name.eq_ignore_ascii_case("content-type");
        let others = self.headers.iter().filter(|(name, _)| !is_set(name));
        others.fold(request, |request, (name, value)| request.with_header(name, value))
    }
}

/// Returns a path as a server may understand it: decoded, without empty segments, dots and parameters.
fn normalized(path: &str) -> String {
    let mut path = path.to_owned();
    // A proxy may decode a path before the server does.
    for _ in 0..3 {
        path = decoded(&path);
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

/// Replaces `%` and two digits by the byte.
fn decoded(path: &str) -> String {
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
    /// Returns JSON with the secrets of the platform masked, like [`RawResponse::masked_json`].
    pub fn masked_json(value: Value) -> Value {
        masked::json(value)
    }

    /// Sends a request that no typed operation covers, and returns the response, whatever its status. GET and HEAD
    /// are retried, and other requests if they were not sent. After a 401, the request is sent once more with another token.
    ///
    /// # Errors
    ///
    /// The request is not valid (see [`RawRequest::url`]), no token is available, or no response arrived.
    /// [`Error::is_submission_uncertain`] if it submits a run and may have arrived.
    pub async fn raw(&self, request: &RawRequest) -> Result<RawResponse, Error> {
        let root = &self.settings().api_root;
        let url = request.url(root).map_err(Error::raw_request)?;
        self.core.raw(|| request.prepared(&url), request.effect(root)).await
    }
}

#[cfg(test)]
mod tests;
