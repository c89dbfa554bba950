use std::path::PathBuf;
use std::time::Duration;

use auth_http::{HttpClient, HttpClientBuilder, Proxy};

use crate::error::BuildError;
use crate::settings::{Profile, Settings};

/// The minimum read timeout of a connection.
const MIN_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The environment variables that set the proxy for https requests.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Returns a builder for the HTTP clients of a platform. It trusts `root_certificates` and the certificates of the
/// profile. `proxy` takes precedence over the environment, and the environment takes precedence over the profile.
pub(crate) fn http_client_builder(
    settings: &Settings,
    root_certificates: &[PathBuf],
    proxy: Option<&Proxy>,
) -> Result<HttpClientBuilder, BuildError> {
    let profile = settings.profile.as_ref();
    let root_certificates = root_certificates.iter().chain(profile.iter().flat_map(|profile| &profile.ca_certs));
    let http = root_certificates.fold(HttpClient::builder(), HttpClientBuilder::with_root_certificates);
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
    /// Returns the proxy of the profile, with the exceptions in `NO_PROXY`. Returns `None` if the environment sets a
    /// proxy, because that proxy takes precedence.
    fn proxy(&self) -> Result<Option<Proxy>, BuildError> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let Some(url) = self.proxy.as_ref().filter(|_| !PROXY_VARIABLES.iter().any(is_set)) else {
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
        let is_set_in_environment =
            PROXY_VARIABLES.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        let debug_output = format!("{:?}", http_client_builder(&settings, &["own.pem".into()], None).unwrap());
        assert_eq!(debug_output.contains("http://profile.test:1"), !is_set_in_environment, "{debug_output}");
        assert!(debug_output.contains("own.pem") && debug_output.contains("of-profile.pem"), "{debug_output}");
        let proxy = Proxy::new("http://own.test:2".parse().unwrap());
        let debug_output = format!("{:?}", http_client_builder(&settings, &[], Some(&proxy)).unwrap());
        assert!(debug_output.contains("http://own.test:2") && !debug_output.contains("profile.test"), "{debug_output}");
    }
}
