//! Requests that no typed operation covers.

mod masked;

use std::fmt;

use auth_http::{HttpError, Method, Request, Response};
use serde_json::Value;
use url::Url;

use crate::{Client, Error};

/// The maximum size of a response, in bytes.
const LARGEST: usize = 256 * 1024 * 1024;
/// The prefix of the API's paths.
const PREFIX: &str = "/api";
/// Headers that the client sets itself. A caller could otherwise send the token elsewhere, or another credential.
const FORBIDDEN: [&str; 7] =
    ["authorization", "connection", "content-length", "cookie", "host", "proxy-authorization", "transfer-encoding"];
/// The page size of [`Client::raw_pages`], which is the maximum of the platform.
const PAGE: usize = 100;

/// A request to the platform's origin, with the token of the client. `Debug` shows neither query nor body.
pub struct RawRequest {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// A response of any status. Redirects are not followed. `Debug` does not show the body.
pub struct RawResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// The error of a request that must not be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RawRequestError {
    /// The path is not a path of the platform.
    #[error("the path is not on the platform's origin {0}: write a path such as /v1/me")]
    OtherOrigin(String),
    /// The client sets this header.
    #[error("the header '{0}' cannot be set, because the client sets it")]
    Header(String),
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
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, RawRequestError> {
        let name = name.into();
        if FORBIDDEN.contains(&name.trim().to_ascii_lowercase().as_str()) {
            return Err(RawRequestError::Header(name));
        }
        self.headers.push((name, value.into()));
        Ok(self)
    }

    /// Sets the body, which is JSON unless a header `Content-Type` is added.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Returns the URL of the request at a platform.
    ///
    /// # Errors
    ///
    /// [`RawRequestError::OtherOrigin`].
    pub fn url(&self, api_root: &Url) -> Result<Url, RawRequestError> {
        let elsewhere = || RawRequestError::OtherOrigin(api_root.origin().ascii_serialization());
        let path = if self.path.starts_with("/v1/") { format!("{PREFIX}{}", self.path) } else { self.path.clone() };
        // A path without a slash could name a scheme.
        if !path.starts_with('/') && !path.starts_with(&api_root.as_str().to_owned()) {
            return Err(elsewhere());
        }
        let mut url = api_root.join(&path).map_err(|_| elsewhere())?;
        if url.origin() != api_root.origin() || !url.username().is_empty() || url.password().is_some() {
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
        let is_runs = |url: Url| url.path().trim_end_matches('/').ends_with("/v1/runs");
        self.method == Method::Post && self.url(api_root).is_ok_and(is_runs)
    }

    /// Returns true if the request can be repeated without another effect.
    fn is_repeatable(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head)
    }

    fn prepared(&self, url: &Url) -> Request {
        let has_type = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let request = Request::new(self.method, url.clone());
        let request = match &self.body {
            // `with_body` sets the type.
            Some(body) if !has_type => request.with_body("application/json", body.clone()),
            Some(body) => {
                let kind = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
                request.with_body(kind.map_or("application/json", |(_, kind)| kind), body.clone())
            }
            None => request.with_header("accept", "application/json"),
        };
        let others = self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        others.fold(request, |request, (name, value)| request.with_header(name, value))
    }
}

impl RawResponse {
    async fn of(response: Response) -> Result<Self, HttpError> {
        let headers = response.all_headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let status = response.status();
        Ok(Self { status, headers, body: response.bytes(LARGEST).await?.to_vec() })
    }

    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the headers with secrets masked: the queries of URLs, and cookies.
    pub fn masked_headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), masked::header(name, value)))
    }

    /// Returns the headers.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the body, if it is JSON, with the secrets of the platform masked: the fields that its document declares
    /// as secret (`x-sdk-secret`), and the queries of URLs, which may contain signatures.
    pub fn masked_json(&self) -> Option<Value> {
        self.json().map(masked::json)
    }
}

impl fmt::Debug for RawRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(formatter, "RawRequest({} {path})", self.method)
    }
}

impl fmt::Debug for RawResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RawResponse({}, {} bytes)", self.status, self.body.len())
    }
}

impl Client {
    /// Sends a request that no typed operation covers, and returns the response, whatever its status. Only GET and HEAD
    /// are retried. After a 401, the request is sent once more with another token.
    ///
    /// # Errors
    ///
    /// [`Error::is_other_origin`], or no response arrived.
    pub async fn raw(&self, request: &RawRequest) -> Result<RawResponse, Error> {
        let url = request.url(&self.settings().api_root).map_err(Error::raw_request)?;
        let settings = self.settings();
        let policy = settings.run.limit(settings.retry.for_requests());
        let mut attempts = self.core.plain().attempts(&url, &policy);
        // A token that is missing is reported as for all other requests.
        self.core.prepare().await?;
        loop {
            let sent = self.core.authorized().send(request.prepared(&url).with_timeout(settings.run.timeout)).await;
            let outcome = match sent {
                Ok(response) => {
                    let retry_after = response.retry_after(self.core.clock().now());
                    let is_transient = response.is_transient();
                    RawResponse::of(response).await.map(|response| (response, is_transient.then_some(retry_after)))
                }
                Err(error) => Err(error),
            };
            let again = match &outcome {
                Ok((response, Some(retry_after))) if request.is_repeatable() => {
                    let refused = Refused(response.status);
                    attempts.refused(&refused, *retry_after)
                }
                Err(error) if error.is_transient() && request.is_repeatable() => attempts.failed(error, None),
                _ => {
                    attempts.answered();
                    return outcome.map(|(response, _)| response).map_err(Error::raw);
                }
            };
            if again.is_err() || attempts.ready().await.is_err() {
                return outcome.map(|(response, _)| response).map_err(Error::raw);
            }
        }
    }

    /// Returns the entries of all pages of a list, in order. `request` is a GET request without a page.
    ///
    /// # Errors
    ///
    /// The errors of [`raw`](Self::raw). The result is the response if its status is not 200, or if it is not a list.
    pub async fn raw_pages(&self, request: RawRequest) -> Result<Result<Vec<Value>, RawResponse>, Error> {
        let RawRequest { method, path, query, headers, body } = request;
        let query: Vec<_> = query.into_iter().filter(|(name, _)| name != "page" && name != "page_size").collect();
        let mut entries: Vec<Value> = Vec::new();
        for page in 1_usize.. {
            let (path, headers, body) = (path.clone(), headers.clone(), body.clone());
            let request = RawRequest { method, path, query: query.clone(), headers, body };
            let request = request.with_query("page", page.to_string()).with_query("page_size", PAGE.to_string());
            let response = self.raw(&request).await?;
            // A page beyond the end may not exist.
            if response.status == 404 && page > 1 {
                break;
            }
            let Some(Value::Array(found)) = response.json().filter(|_| response.status == 200) else {
                return Ok(Err(response));
            };
            let is_last = found.len() < PAGE;
            entries.extend(found);
            if is_last {
                break;
            }
        }
        Ok(Ok(entries))
    }

    /// Returns JSON with the secrets of the platform masked, like [`RawResponse::masked_json`].
    pub fn masked_json(value: Value) -> Value {
        masked::json(value)
    }
}

/// A status that is worth a retry.
#[derive(Debug, thiserror::Error)]
#[error("the platform responded with {0}")]
struct Refused(u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_stays_on_the_origin_of_the_platform() {
        let root: Url = "https://platform.example/".parse().unwrap();
        let url = |path: &str| RawRequest::new(Method::Get, path).with_query("a", "b c").url(&root).map(String::from);
        for (path, expected) in [
            ("/v1/me", "https://platform.example/api/v1/me?a=b+c"),
            ("/api/v1/me?x=1", "https://platform.example/api/v1/me?x=1&a=b+c"),
            ("/health", "https://platform.example/health?a=b+c"),
            ("https://platform.example/api/v1/me", "https://platform.example/api/v1/me?a=b+c"),
        ] {
            assert_eq!(url(path).unwrap(), expected);
        }
        for path in [
            "//evil.test/v1/me",
            "https://evil.test/",
            "http://platform.example/v1/me",
            "https://user@platform.example/",
            "/\\evil.test",
            "\\\\evil.test/",
            "javascript:x",
            "v1/me",
            "https://platform.example.evil.test/",
        ] {
            assert!(url(path).is_err(), "{path}");
        }
    }

    #[test]
    fn headers_of_the_client_cannot_be_set() {
        for name in ["Authorization", "HOST", "Content-Length", "cookie"] {
            assert!(RawRequest::new(Method::Get, "/").with_header(name, "x").is_err(), "{name}");
        }
        assert!(RawRequest::new(Method::Get, "/").with_header("Accept", "x").is_ok());
    }

    #[test]
    fn submissions_are_recognized() {
        let root: Url = "https://platform.example/".parse().unwrap();
        let is = |method, path: &str| RawRequest::new(method, path).is_submission(&root);
        for path in ["/v1/runs", "/api/v1/runs", "/v1/runs/", "/v1/x/../runs", "/v1/runs?x=1", "/api/./v1/runs"] {
            assert!(is(Method::Post, path), "{path}");
        }
        assert!(!is(Method::Get, "/v1/runs") && !is(Method::Post, "/v1/runs/1/cancel"));
    }
}
