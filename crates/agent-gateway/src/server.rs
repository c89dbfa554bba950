use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::credentials::CredentialError;

/// A list of MCP servers. Implement it for servers that are listed elsewhere.
///
/// It is read for every discovery.
#[async_trait]
pub trait ServerDirectory: fmt::Debug + Send + Sync {
    /// Returns the current servers.
    ///
    /// # Errors
    ///
    /// The list cannot be read.
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError>;
}

const _: Option<&dyn ServerDirectory> = None;

/// An error of a server directory. It is the type of credential errors, because both are often read from the same
/// place.
pub type DirectoryError = CredentialError;

/// The path prefix of all servers behind a gateway.
const PATH: &str = "/v1/mcp";

/// The characters of a path segment that need no encoding (RFC 3986, section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An MCP server: its id, tenant and endpoint. Clones are cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server(Arc<Inner>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Inner {
    ord_id: String,
    tenant: String,
    url: Url,
}

impl Server {
    /// Returns the gateway's server for the API `ord_id` (Open Resource Discovery) and the tenant `tenant`. `gateway`
    /// is the base URL of the gateway, with or without `/v1/mcp`.
    ///
    /// ```
    /// use agent_gateway::Server;
    ///
    /// let server = Server::behind(&"https://gateway.example/".parse()?, "sap.x:apiResource:orders:v1", "tenant/1")?;
    /// let url = "https://gateway.example/v1/mcp/sap.x%3AapiResource%3Aorders%3Av1/tenant%2F1";
    /// assert_eq!(server.url().as_str(), url);
    /// # Ok::<(), url::ParseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `ord_id` or `tenant` is empty, `.` or `..`, or `gateway` cannot have a path.
    pub fn behind(gateway: &Url, ord_id: &str, tenant: &str) -> Result<Self, url::ParseError> {
        let mut url = gateway.clone();
        let root = url.path().trim_end_matches('/');
        let root = root.strip_suffix(PATH).unwrap_or(root);
        let segment = |text| utf8_percent_encode(text, SEGMENT);
        let path = format!("{root}{PATH}/{}/{}", segment(ord_id), segment(tenant));
        url.set_path(&path);
        // Parsing removes `.` and `..`, and an empty segment is not valid.
        if url.path() != path || ord_id.is_empty() || tenant.is_empty() {
            return Err(url::ParseError::RelativeUrlWithoutBase);
        }
        Ok(Self::at(url, ord_id, tenant))
    }

    /// Creates a server whose endpoint is `url`, for custom directories.
    pub fn at(url: Url, ord_id: impl Into<String>, tenant: impl Into<String>) -> Self {
        Self(Arc::new(Inner { ord_id: ord_id.into(), tenant: tenant.into(), url }))
    }

    /// Returns the id of its API (Open Resource Discovery).
    pub fn ord_id(&self) -> &str {
        &self.0.ord_id
    }

    /// Returns the tenant.
    pub fn tenant(&self) -> &str {
        &self.0.tenant
    }

    /// Returns the URL of its MCP endpoint.
    pub fn url(&self) -> &Url {
        &self.0.url
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` of the tenant `{}`", self.0.ord_id, self.0.tenant)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { ord_id, tenant, url } = &*self.0;
        let shown = auth_http::redacted(url).to_string();
        formatter.debug_struct("Server").field("ord_id", ord_id).field("tenant", tenant).field("url", &shown).finish()
    }
}

#[async_trait]
impl ServerDirectory for Vec<Server> {
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError> {
        Ok(self.clone())
    }
}
