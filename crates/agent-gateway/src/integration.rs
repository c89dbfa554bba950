//! The integration gateway: the code for one product, behind [`CredentialSource`](crate::CredentialSource) and
//! [`ServerDirectory`](crate::ServerDirectory). The rest of this crate contains neither the names of the product's
//! fields, variables and paths nor the requirements of its token service.

mod binding;
mod destinations;
mod document;
mod environment;
mod secret;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use url::Url;

use crate::credentials::{CredentialError, Credentials};
use crate::discovery::ToolFilter;
use crate::gateway::{Gateway, GatewayBuilder};
use crate::server::Server;

pub use binding::ServiceBinding;
pub use destinations::{DestinationBinding, Destinations};
pub use environment::Environment;

/// The resource of all tokens (RFC 8707, section 2).
const RESOURCE: &str = "urn:sap:identity:application:provider:name:agent-gateway";
/// A parameter that requests for tokens of the system must have.
const SYSTEM_PARAMETER: (&str, &str) = ("response_type", "token");
/// A parameter that requests for tokens of users must have.
const USER_PARAMETER: (&str, &str) = ("token_format", "jwt");
/// The path prefix of all servers behind a gateway.
const SERVER_PATH_PREFIX: &str = "/v1/mcp";

/// The characters of a path segment that need no encoding (RFC 3986, section 2.3).
const SEGMENT_CHARACTERS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns a text, encoded as a path segment.
fn encode_segment(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, SEGMENT_CHARACTERS)
}

/// Returns credentials for the token service of the gateway.
fn credentials(token_url: Url, client_id: &str) -> Credentials {
    let credentials = Credentials::new(token_url, client_id);
    let credentials = RESOURCE.parse().into_iter().fold(credentials, Credentials::with_resource);
    let (system, user) = (SYSTEM_PARAMETER, USER_PARAMETER);
    credentials.with_system_parameter(system.0, system.1).with_user_parameter(user.0, user.1)
}

impl Gateway {
    /// Returns a builder that uses the first of these sources that exists: the [`ServiceBinding`], the [`Environment`],
    /// or the [`Destinations`] of the tenants.
    ///
    /// # Errors
    ///
    /// No source exists, or the first source that exists is not valid. An invalid source is not replaced by the next
    /// one.
    pub fn from_environment() -> Result<GatewayBuilder, CredentialError> {
        let binding = ServiceBinding::from_environment();
        match binding.find_credentials_file() {
            Ok(_) => Ok(Self::builder(binding.clone(), binding)),
            Err(error) if error.is_no_binding() && Environment::is_configured() => {
                let environment = Environment::read()?;
                Ok(Self::builder(environment.clone(), environment))
            }
            Err(error) if error.is_no_binding() && Destinations::is_configured() => {
                let destinations = Destinations::from_environment()?;
                Ok(Self::builder(destinations.clone(), destinations))
            }
            Err(error) => Err(error),
        }
    }
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
    /// `ord_id` or `tenant` is empty, `.` or `..`, or `gateway` is a URL that cannot have a path.
    pub fn behind(gateway: &Url, ord_id: &str, tenant: &str) -> Result<Self, url::ParseError> {
        let mut url = gateway.clone();
        let root = url.path().trim_end_matches('/');
        let root = root.strip_suffix(SERVER_PATH_PREFIX).unwrap_or(root);
        let path = format!("{root}{SERVER_PATH_PREFIX}/{}/{}", encode_segment(ord_id), encode_segment(tenant));
        url.set_path(&path);
        // Parsing removes `.` and `..`, and an empty segment is not valid.
        if url.path() != path || ord_id.is_empty() || tenant.is_empty() {
            return Err(url::ParseError::RelativeUrlWithoutBase);
        }
        Ok(Self::at(url, ord_id, tenant))
    }

    /// Returns the id of the server, which is the id of its API (Open Resource Discovery) behind a gateway.
    pub fn ord_id(&self) -> &str {
        self.id()
    }
}

impl ToolFilter {
    /// Selects the servers with this API (Open Resource Discovery id), as [`with_server`](Self::with_server).
    pub fn with_ord_id(self, ord_id: impl Into<String>) -> Self {
        self.with_server(ord_id)
    }
}
