use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use auth_oauth::Browser;
use url::Url;

/// A means to direct the user to the login page of an authorization server.
///
/// Every [`Browser`] is one. Implement this trait to also show which server requires the login.
///
/// ```
/// use std::error::Error;
/// use agent_gateway::{Interaction, LoginPage};
///
/// #[derive(Debug)]
/// struct Terminal;
///
/// #[async_trait::async_trait]
/// impl Interaction for Terminal {
///     async fn open(&self, page: &LoginPage) -> Result<(), Box<dyn Error + Send + Sync>> {
///         println!("{} requires a login at {}: open {}", page.server(), page.issuer(), page.url());
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Interaction: fmt::Debug + Send + Sync {
    /// Shows the page to the user, and may open it in a browser on this machine. When this method returns, the login
    /// waits for the redirect to its loopback listener.
    ///
    /// It is called on a thread that all token sources of the process share, and must not block it.
    ///
    /// # Errors
    ///
    /// The page cannot be shown. The error ends the login.
    async fn open(&self, page: &LoginPage) -> Result<(), Box<dyn Error + Send + Sync>>;
}

const _: Option<&dyn Interaction> = None;

/// The page on which a user logs in, and the purpose of the login.
#[derive(Clone)]
pub struct LoginPage {
    pub(super) server: String,
    pub(super) issuer: String,
    pub(super) scopes: Vec<String>,
    pub(super) subject: Option<String>,
    pub(super) url: Url,
}

impl LoginPage {
    /// Returns the id of the MCP server that requires the login.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Returns the issuer of the tokens, which the MCP server has named.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the requested scopes.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Returns the SHA-256 of the assertion of the user in hexadecimal, or `None` for the system.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Returns the URL of the page. It is valid for one login.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for LoginPage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, issuer, scopes, url, .. } = self;
        let url = auth_http::redacted(url).to_string();
        let mut debug_struct = formatter.debug_struct("LoginPage");
        debug_struct.field("server", server).field("issuer", issuer).field("scopes", scopes).field("url", &url);
        debug_struct.finish_non_exhaustive()
    }
}

#[async_trait]
impl<B: Browser> Interaction for B {
    async fn open(&self, page: &LoginPage) -> Result<(), Box<dyn Error + Send + Sync>> {
        Browser::open(self, page.url()).await
    }
}
