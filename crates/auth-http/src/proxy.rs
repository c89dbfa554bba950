//! The proxy for https requests. Plain http requests are never sent through a proxy. The proxy could read them, and its
//! 401 response would be mistaken for a 401 response of the server, so that the token would be deleted.

use std::fmt;

use auth_core::Secret;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::error::BuildError;

/// A proxy for all https requests. It replaces the settings of the environment (`HTTPS_PROXY`, `ALL_PROXY`,
/// `NO_PROXY`).
///
/// ```
/// use auth_core::Secret;
/// use auth_http::{HttpClient, Proxy};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let proxy = Proxy::new("http://proxy.example:3128".parse()?)
///     .with_credentials("lab", Secret::new("from a vault, not from a command line"))
///     .with_no_proxy("localhost,.example.org");
/// let client = HttpClient::builder().with_proxy(proxy).build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    credentials: Option<(String, Secret)>,
    no_proxy_hosts: String,
}

impl Proxy {
    /// Creates a proxy at `url`, which may contain a user and a password. Its scheme must be `http`, `https`, `socks4`,
    /// `socks4a`, `socks5` or `socks5h`. With `socks4a` and `socks5h`, the proxy resolves host names.
    pub fn new(url: Url) -> Self {
        Self { url, credentials: None, no_proxy_hosts: String::new() }
    }

    /// Sets the user and the password for the proxy (RFC 7617, or RFC 1929 for SOCKS 5). SOCKS 4 has no passwords;
    /// there the password is ignored.
    pub fn with_credentials(mut self, user: impl Into<String>, password: Secret) -> Self {
        self.credentials = Some((user.into(), password));
        self
    }

    /// Sets the hosts that are reached without the proxy, as a comma-separated list like `NO_PROXY`: domains including
    /// their subdomains (a leading dot is optional), addresses, networks (`10.0.0.0/8`), or `*` for all hosts.
    pub fn with_no_proxy(mut self, hosts: impl Into<String>) -> Self {
        self.no_proxy_hosts = hosts.into();
        self
    }

    /// Takes the hosts to reach without the proxy from the environment variable `NO_PROXY`.
    pub fn with_no_proxy_from_env(self) -> Self {
        let no_proxy_hosts = ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok());
        self.with_no_proxy(no_proxy_hosts.unwrap_or_default())
    }

    pub(crate) fn build(&self) -> Result<reqwest::Proxy, BuildError> {
        let is_socks = matches!(self.url.scheme(), "socks4" | "socks4a" | "socks5" | "socks5h");
        let mut url = self.url.clone();
        if let (true, Some((user, password))) = (is_socks, &self.credentials) {
            // For SOCKS, `reqwest` takes the credentials only from the URL, and decodes percent escapes in them.
            let encode_percent = |text: &str| text.replace('%', "%25");
            url.set_username(&encode_percent(user))
                .and_then(|()| url.set_password(Some(&encode_percent(password.expose()))))
                .map_err(|()| BuildError::proxy(redacted_proxy(&self.url)))?;
        }
        let is_supported = is_socks || matches!(url.scheme(), "http" | "https");
        let proxy = reqwest::Proxy::https(url.as_str()).ok().filter(|_| is_supported);
        let proxy = proxy.ok_or_else(|| BuildError::proxy(redacted_proxy(&self.url)))?;
        let proxy = match self.credentials.as_ref().filter(|_| !is_socks) {
            Some((user, password)) => proxy.basic_auth(user, password.expose()),
            None => proxy,
        };
        Ok(proxy.no_proxy(reqwest::NoProxy::from_string(&self.no_proxy_hosts)))
    }

    fn matcher(&self) -> Matcher {
        Matcher::builder().https(self.url.as_str()).no(self.no_proxy_hosts.as_str()).build()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proxy").field("url", &redacted_proxy(&self.url)).finish_non_exhaustive()
    }
}

/// Returns the scheme, host and port of a proxy URL, without credentials.
pub(crate) fn redacted_proxy(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{}://{host}:{port}", url.scheme()))
}

/// Determines which proxy `reqwest` uses for a request, so that error messages can name it. It does not affect
/// requests.
pub(crate) struct Route(Option<Matcher>);

impl Route {
    /// Returns a route without proxies, regardless of the environment.
    pub(crate) fn direct() -> Self {
        Self(None)
    }

    /// Returns a route through `proxy`, or through the proxies of the environment.
    pub(crate) fn of(proxy: Option<&Proxy>) -> Self {
        Self(Some(proxy.map_or_else(Matcher::from_system, Proxy::matcher)))
    }

    /// Returns the URL of the proxy for a request to `url`, without credentials.
    pub(crate) fn proxy(&self, url: &Url) -> Option<String> {
        let proxy = self.0.as_ref()?.intercept(&url.as_str().parse().ok()?)?;
        Some(redacted_proxy(&proxy.uri().to_string().parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_is_not_used_for_excepted_domains_and_plain_http() {
        let proxy =
            Proxy::new("http://proxy.test:3128".parse().unwrap()).with_no_proxy("example.org, .lab.test,10.0.0.0/8");
        let route = Route::of(Some(&proxy));
        for (url, is_used) in [
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
            let expected = is_used.then(|| "http://proxy.test:3128".to_owned());
            assert_eq!(route.proxy(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
