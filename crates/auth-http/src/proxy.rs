//! The proxy that requests go through: those by https. Plain http is for this machine alone; on its way through a proxy
//! it would be read, and what the proxy refuses would look like an answer of the server, and cost a good token.

use std::fmt;

use auth_core::Secret;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::BuildError;

/// A proxy for all https, instead of what the environment says (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
///
/// ```
/// use auth_core::Secret;
/// use auth_http::{HttpClient, Proxy};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let proxy = Proxy::new("http://proxy.example:3128".parse()?)
///     .with_credentials("lab", Secret::new("from a vault, not from a command line"))
///     .without("localhost,.example.org");
/// let client = HttpClient::builder().with_proxy(proxy).build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    credentials: Option<(String, Secret)>,
    exceptions: String,
}

impl Proxy {
    /// The proxy at `url`; a user and a password in it count.
    pub fn new(url: Url) -> Self {
        Self { url, credentials: None, exceptions: String::new() }
    }

    /// Who the proxy is told that this is (RFC 7617).
    pub fn with_credentials(mut self, user: impl Into<String>, password: Secret) -> Self {
        self.credentials = Some((user.into(), password));
        self
    }

    /// Hosts that are reached without it, in the form of `NO_PROXY`, separated by commas: names with all that is below
    /// them (a dot before them changes nothing), addresses, networks (`10.0.0.0/8`), or `*` for all.
    pub fn without(mut self, hosts: impl Into<String>) -> Self {
        self.exceptions = hosts.into();
        self
    }

    pub(crate) fn build(&self) -> Result<reqwest::Proxy, BuildError> {
        let proxy =
            reqwest::Proxy::https(self.url.as_str()).ok().filter(|_| matches!(self.url.scheme(), "http" | "https"));
        let proxy = proxy.ok_or_else(|| BuildError::proxy(&self.url))?;
        let proxy = match &self.credentials {
            Some((user, password)) => proxy.basic_auth(user, password.expose()),
            None => proxy,
        };
        Ok(proxy.no_proxy(reqwest::NoProxy::from_string(&self.exceptions)))
    }

    fn matcher(&self) -> Matcher {
        Matcher::builder().https(self.url.as_str()).no(self.exceptions.as_str()).build()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proxy").field("url", &shown(&self.url)).finish_non_exhaustive()
    }
}

/// A proxy without the password that may be in its URL.
pub(crate) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{}://{host}:{port}", url.scheme()))
}

/// Says through which proxy a request goes, by the rules that the HTTP library follows.
pub(crate) struct Route(Option<Matcher>);

impl Route {
    /// Without any proxy, whatever the environment says.
    pub(crate) fn direct() -> Self {
        Self(None)
    }

    pub(crate) fn of(proxy: Option<&Proxy>) -> Self {
        Self(Some(proxy.map_or_else(Matcher::from_system, Proxy::matcher)))
    }

    /// The proxy for a request to `url`.
    pub(crate) fn proxy(&self, url: &Url) -> Option<String> {
        let proxy = self.0.as_ref()?.intercept(&url.as_str().parse().ok()?)?;
        Some(shown(&proxy.uri().to_string().parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_excepted_with_all_below_them_and_plain_http_always() {
        let proxy = Proxy::new("http://proxy.test:3128".parse().unwrap()).without("example.org, .lab.test,10.0.0.0/8");
        let route = Route::of(Some(&proxy));
        for (url, through) in [
            ("https://elsewhere.test/", true),
            ("https://notexample.org/", true),
            ("https://example.org/", false),
            ("https://api.example.org/", false),
            ("https://lab.test/", false),
            ("https://api.lab.test/", false),
            ("https://10.1.2.3/", false),
            ("https://11.1.2.3/", true),
            ("http://localhost/", false),
        ] {
            let expected = through.then(|| "http://proxy.test:3128".to_owned());
            assert_eq!(route.proxy(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
