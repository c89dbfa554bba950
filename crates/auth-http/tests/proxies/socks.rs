//! A SOCKS 5 proxy.

use auth_core::Secret;
use auth_http::Proxy;
use url::Url;

use crate::authority::Authority;
use crate::environment::send_in_environment;
use crate::exchange::{client, error_details, get};
use crate::process::RunningProxy;
use crate::program::{PASSWORD, USER, socks};
use crate::server::serve;

fn url(running: &RunningProxy, scheme: &str, credentials: &str) -> Url {
    format!("{scheme}://{credentials}127.0.0.1:{}", running.port()).parse().unwrap()
}

#[tokio::test]
async fn socks_proxy_is_used_with_its_password() {
    let authority = Authority::new();
    let server = serve(&authority, None).await;
    let Some(running) = RunningProxy::start(socks()).await else { return };
    let get_through = |proxy| get(client().with_root_certificates(authority.file()).with_proxy(proxy), &server);
    for scheme in ["socks5", "socks5h"] {
        let without_password = Proxy::new(url(&running, scheme, ""));
        let correct_proxies = [
            Proxy::new(url(&running, scheme, &format!("{USER}:{PASSWORD}@"))),
            Proxy::new(url(&running, scheme, &format!("{USER}:pass%2Eword@"))),
            without_password.clone().with_credentials(USER, Secret::new(PASSWORD)),
        ];
        for proxy in correct_proxies {
            assert_eq!(get_through(proxy).await.unwrap(), 200, "{scheme}");
        }
        let wrong_proxies = [
            without_password.clone(),
            // `with_credentials` does not decode percent escapes.
            without_password.clone().with_credentials(USER, Secret::new("pass%2Eword")),
            without_password.with_credentials(USER, Secret::new("canary")),
            Proxy::new(url(&running, scheme, &format!("{USER}:canary@"))),
        ];
        for proxy in wrong_proxies {
            let error = get_through(proxy).await.unwrap_err();
            let details = error_details(&error);
            assert!(error.is_connect() && !details.contains("canary"), "{details}");
            assert_eq!(error.proxy(), Some(url(&running, scheme, "").as_str()), "{details}");
        }
    }
}

#[tokio::test]
async fn socks_proxy_of_the_environment_is_used() {
    let authority = Authority::new();
    let server = serve(&authority, None).await;
    let Some(running) = RunningProxy::start(socks()).await else { return };
    let (file, correct_url) = (authority.file(), url(&running, "socks5h", &format!("{USER}:{PASSWORD}@")));
    let wrong_url = url(&running, "socks5h", "");
    let trusted_roots = ("REQUESTS_CA_BUNDLE", file.to_str().unwrap());
    for variable in ["HTTPS_PROXY", "ALL_PROXY"] {
        assert_eq!(
            send_in_environment(&[(variable, correct_url.as_str()), trusted_roots], &server).await,
            "200",
            "{variable}"
        );
        let outcome = send_in_environment(&[(variable, wrong_url.as_str()), trusted_roots], &server).await;
        assert!(outcome.starts_with(wrong_url.as_str()), "{outcome}");
    }
}
