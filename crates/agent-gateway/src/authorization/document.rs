//! Documents of servers that are not trusted yet. Each is small, JSON, and at a permitted address; a redirect is an error.

use std::time::Duration;

use auth_core::Authority;
use auth_http::{HttpClient, Method, Request, Response, is_internal_host};
use serde_json::Value;
use url::Url;

use super::error::AuthorizationError;
use super::members::Members;

/// The maximum size of a document, in bytes. Real ones have a few kilobytes.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// The time limit of a request for a document.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The connections to the servers that the metadata of one MCP server names.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    /// Connects to public hosts only, unless the MCP server itself is internal.
    http: HttpClient,
    plain_loopback: bool,
    /// True if the MCP server itself is at an internal address.
    is_internal: bool,
}

impl Documents {
    pub(super) fn new(http: HttpClient, plain_loopback: bool, is_internal: bool) -> Self {
        Self { http, plain_loopback, is_internal }
    }

    /// Checks that something may be sent to `url`, which is `what` of the server.
    pub(super) fn admit(&self, what: &'static str, url: &Url) -> Result<(), AuthorizationError> {
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || !Authority::of(url).is_confidential(self.plain_loopback) {
            return Err(AuthorizationError::insecure(what, url));
        }
        if !self.is_internal && is_internal_host(url) {
            return Err(AuthorizationError::internal(what, url));
        }
        Ok(())
    }

    /// Fetches a document.
    pub(super) async fn get(&self, what: &'static str, url: &Url) -> Result<Members, AuthorizationError> {
        self.admit(what, url)?;
        let request = Request::get(url.clone()).with_header("accept", "application/json").with_timeout(TIMEOUT);
        let response = self.http.send(request).await.map_err(|error| AuthorizationError::fetch(what, url, error))?;
        match response.status() {
            200 => json(what, url, response).await,
            status => Err(AuthorizationError::status(url, status)),
        }
    }

    /// Posts a document. Returns the status and the document of the response.
    pub(super) async fn post(
        &self,
        what: &'static str,
        url: &Url,
        body: &Value,
    ) -> Result<(u16, Members), AuthorizationError> {
        self.admit(what, url)?;
        let request = Request::new(Method::Post, url.clone()).with_header("accept", "application/json");
        let request = request.with_body("application/json", body.to_string()).with_timeout(TIMEOUT);
        let response = self.http.send(request).await.map_err(|error| AuthorizationError::fetch(what, url, error))?;
        let status = response.status();
        match json(what, url, response).await {
            Err(_) if status >= 300 => Err(AuthorizationError::status(url, status)),
            document => Ok((status, document?)),
        }
    }
}

/// Returns the members of the object in a response.
async fn json(what: &'static str, url: &Url, response: Response) -> Result<Members, AuthorizationError> {
    let stated = response.header("content-type").unwrap_or_default().to_owned();
    let essence = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" && !essence.ends_with("+json") {
        return Err(AuthorizationError::other_type(url, &essence));
    }
    let body = response.bytes(MAX_DOCUMENT_BYTES).await.map_err(|error| AuthorizationError::fetch(what, url, error))?;
    // The parser limits the depth to 128.
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(Members::new(url, members)),
        Ok(_) => Err(AuthorizationError::document(url, "it is not a JSON object")),
        Err(error) => {
            let place = format!("it is not JSON: line {}, column {}", error.line(), error.column());
            Err(AuthorizationError::document(url, place))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_permitted_loopback_are_admitted() {
        let documents = |plain, server: &str| {
            let http = HttpClient::builder().with_plain_loopback().build().unwrap();
            Documents::new(http, plain, is_internal_host(&server.parse().unwrap()))
        };
        let admitted = |documents: &Documents, url: &str| documents.admit("it", &url.parse().unwrap()).is_ok();
        let public = documents(false, "https://mcp.test/");
        assert!(admitted(&public, "https://issuer.test/a"));
        for url in ["http://issuer.test/", "http://127.0.0.1/", "https://127.0.0.1/", "https://u:p@issuer.test/"] {
            assert!(!admitted(&public, url), "{url}");
        }
        assert!(!admitted(&documents(true, "https://mcp.test/"), "http://127.0.0.1/"), "not for a public server");
        assert!(admitted(&documents(true, "http://127.0.0.1:1/"), "http://localhost:2/"));
        assert!(!admitted(&documents(false, "https://10.0.0.1/"), "http://10.0.0.1/"));
        assert!(admitted(&documents(false, "https://10.0.0.1/"), "https://10.0.0.2/"));
    }
}
