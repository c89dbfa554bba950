use std::path::PathBuf;
use std::time::Duration;

use auth_http::{HttpClient, HttpClientBuilder, Proxy};

use crate::error::BuildError;
use crate::settings::{Profile, Settings};

/// The minimum read timeout of a connection.
const MIN_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The environment variables that set the proxy for https requests.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Returns a builder for the HTTP clients of a platform. The certificates in `roots` are added to those of the profile.
/// `proxy` takes precedence over the environment, which takes precedence over the profile.
pub(crate) fn prepare(
    settings: &Settings,
    roots: &[PathBuf],
    proxy: Option<&Proxy>,
) -> Result<HttpClientBuilder, BuildError> {
    let profile = settings.profile.as_ref();
    let roots = roots.iter().chain(profile.iter().flat_map(|profile| &profile.ca_certs));
    let http = roots.fold(HttpClient::builder(), HttpClientBuilder::with_root_certificates);
    let proxy = match (proxy, profile) {
        (Some(proxy), _) => Some(proxy.clone()),
        (None, Some(profile)) => profile.proxy()?,
        (None, None) => None,
    };
    let http = proxy.into_iter().fold(http, HttpClientBuilder::with_proxy);
    // The read timeout must not be shorter than the timeout of a request to the identity provider.
    let http = http.with_read_timeout(settings.auth.timeout.max(MIN_READ_TIMEOUT));
    Ok(if settings.is_plain_loopback() { http.with_plain_loopback() } else { http })
}

impl Profile {
    /// Returns the proxy of the profile, which is not used for the hosts in `NO_PROXY`. Returns `None` if the
    /// environment sets a proxy, because it takes precedence.
    fn proxy(&self) -> Result<Option<Proxy>, BuildError> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let Some(url) = self.proxy.as_ref().filter(|_| !PROXIES.iter().any(is_set)) else {
            return Ok(None);
        };
        let url = url.parse().map_err(|_| BuildError::proxy(&self.name))?;
        Ok(Some(Proxy::new(url).with_no_proxy_from_env()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_uses_proxy_and_certificates_of_the_profile() {
        let mut settings = Settings::at(&"https://platform.example".parse().unwrap()).unwrap();
        let profile = Profile {
            proxy: Some("http://profile.test:1".to_owned()),
            ca_certs: vec!["of-profile.pem".into()],
            ..Profile::default()
        };
        settings.profile = Some(profile);
        let is_named = PROXIES.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        let shown = format!("{:?}", prepare(&settings, &["own.pem".into()], None).unwrap());
        assert_eq!(shown.contains("http://profile.test:1"), !is_named, "{shown}");
        assert!(shown.contains("own.pem") && shown.contains("of-profile.pem"), "{shown}");
        let proxy = Proxy::new("http://own.test:2".parse().unwrap());
        let shown = format!("{:?}", prepare(&settings, &[], Some(&proxy)).unwrap());
        assert!(shown.contains("http://own.test:2") && !shown.contains("profile.test"), "{shown}");
    }
}
