//! Documents from untrusted servers. A document must be small, valid JSON, and at a permitted address; a redirect is an
//! error.

use std::time::Duration;

use auth_core::Authority;
use auth_http::{HttpClient, Method, Request, Response, is_internal_host};
use serde_json::Value;
use url::Url;

use super::error::AuthorizationError;
use super::members::JsonDocument;

/// The maximum size of a document, in bytes. Real ones have a few kilobytes.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// The time limit of a request for a document.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for the documents of one MCP server and of its authorization servers.
#[derive(Clone, Debug)]
pub(super) struct DocumentClient {
    /// Connects to public hosts only, unless the MCP server itself is internal.
    http: HttpClient,
    plain_loopback: bool,
    /// True if the MCP server itself is at an internal address.
    is_internal: bool,
}

impl DocumentClient {
    pub(super) fn new(http: HttpClient, plain_loopback: bool, is_internal: bool) -> Self {
        Self { http, plain_loopback, is_internal }
    }

    /// Returns an error if no request may be sent to `url`. `url_description` describes the URL in errors.
    pub(super) fn check_url(&self, url_description: &'static str, url: &Url) -> Result<(), AuthorizationError> {
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || !Authority::of(url).is_confidential(self.plain_loopback) {
            return Err(AuthorizationError::insecure(url_description, url));
        }
        if !self.is_internal && is_internal_host(url) {
            return Err(AuthorizationError::internal(url_description, url));
        }
        Ok(())
    }

    /// Fetches a document.
    pub(super) async fn get(
        &self,
        url_description: &'static str,
        url: &Url,
    ) -> Result<JsonDocument, AuthorizationError> {
        self.check_url(url_description, url)?;
        let request = Request::get(url.clone()).with_header("accept", "application/json").with_timeout(REQUEST_TIMEOUT);
        let response =
            self.http.send(request).await.map_err(|error| AuthorizationError::fetch(url_description, url, error))?;
        match response.status() {
            200 => read_json(url_description, url, response).await,
            status => Err(AuthorizationError::status(url, status)),
        }
    }

    /// Posts a document. Returns the status and the document of the response.
    pub(super) async fn post(
        &self,
        url_description: &'static str,
        url: &Url,
        body: &Value,
    ) -> Result<(u16, JsonDocument), AuthorizationError> {
        self.check_url(url_description, url)?;
        let request = Request::new(Method::Post, url.clone()).with_header("accept", "application/json");
        let request = request.with_body("application/json", body.to_string()).with_timeout(REQUEST_TIMEOUT);
        let response =
            self.http.send(request).await.map_err(|error| AuthorizationError::fetch(url_description, url, error))?;
        let status = response.status();
        match read_json(url_description, url, response).await {
            Err(_) if status >= 300 => Err(AuthorizationError::status(url, status)),
            document => Ok((status, document?)),
        }
    }
}

/// Returns the members of the object in a response.
async fn read_json(
    url_description: &'static str,
    url: &Url,
    response: Response,
) -> Result<JsonDocument, AuthorizationError> {
    let content_type = response.header("content-type").unwrap_or_default().to_owned();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" && !essence.ends_with("+json") {
        return Err(AuthorizationError::wrong_media_type(url, &essence));
    }
    let body = response
        .bytes(MAX_DOCUMENT_BYTES)
        .await
        .map_err(|error| AuthorizationError::fetch(url_description, url, error))?;
    // The parser limits the depth to 128.
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(JsonDocument::new(url, members)),
        Ok(_) => Err(AuthorizationError::document(url, "it is not a JSON object")),
        Err(error) => {
            let problem = format!("it is not JSON: line {}, column {}", error.line(), error.column());
            Err(AuthorizationError::document(url, problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_permitted_loopback_are_accepted() {
        let documents = |plain, server: &str| {
            let http = HttpClient::builder().with_plain_loopback().build().unwrap();
            DocumentClient::new(http, plain, is_internal_host(&server.parse().unwrap()))
        };
        let is_accepted =
            |documents: &DocumentClient, url: &str| documents.check_url("it", &url.parse().unwrap()).is_ok();
        let public = documents(false, "https://mcp.test/");
        assert!(is_accepted(&public, "https://issuer.test/a"));
        for url in ["http://issuer.test/", "http://127.0.0.1/", "https://127.0.0.1/", "https://u:p@issuer.test/"] {
            assert!(!is_accepted(&public, url), "{url}");
        }
        assert!(!is_accepted(&documents(true, "https://mcp.test/"), "http://127.0.0.1/"), "not for a public server");
        assert!(is_accepted(&documents(true, "http://127.0.0.1:1/"), "http://localhost:2/"));
        assert!(!is_accepted(&documents(false, "https://10.0.0.1/"), "http://10.0.0.1/"));
        assert!(is_accepted(&documents(false, "https://10.0.0.1/"), "https://10.0.0.2/"));
    }
}
