//! A SOCKS 5 proxy.

use auth_core::Secret;
use auth_http::Proxy;
use url::Url;

use crate::authority::Authority;
use crate::environment::in_environment;
use crate::exchange::{client, get, shown};
use crate::process::Running;
use crate::program::{PASSWORD, USER, socks};
use crate::server::serve;

fn url(running: &Running, scheme: &str, credentials: &str) -> Url {
    format!("{scheme}://{credentials}127.0.0.1:{}", running.port()).parse().unwrap()
}

#[tokio::test]
async fn requests_pass_a_socks_proxy_with_its_password() {
    let authority = Authority::new();
    let server = serve(&authority, None).await;
    let Some(running) = Running::start(socks()).await else { return };
    let through = |proxy| get(client().with_root_certificates(authority.file()).with_proxy(proxy), &server);
    for scheme in ["socks5", "socks5h"] {
        let named = Proxy::new(url(&running, scheme, ""));
        let right = [
            Proxy::new(url(&running, scheme, &format!("{USER}:{PASSWORD}@"))),
            Proxy::new(url(&running, scheme, &format!("{USER}:pass%2Eword@"))),
            named.clone().with_credentials(USER, Secret::new(PASSWORD)),
        ];
        for proxy in right {
            assert_eq!(through(proxy).await.unwrap(), 200, "{scheme}");
        }
        let wrong = [
            named.clone(),
            named.with_credentials(USER, Secret::new("canary")),
            Proxy::new(url(&running, scheme, &format!("{USER}:canary@"))),
        ];
        for proxy in wrong {
            let error = through(proxy).await.unwrap_err();
            let shown = shown(&error);
            assert!(error.is_connect() && !shown.contains("canary"), "{shown}");
            assert_eq!(error.proxy(), Some(url(&running, scheme, "").as_str()), "{shown}");
        }
    }
}

#[tokio::test]
async fn environment_names_a_socks_proxy() {
    let authority = Authority::new();
    let server = serve(&authority, None).await;
    let Some(running) = Running::start(socks()).await else { return };
    let (file, right) = (authority.file(), url(&running, "socks5h", &format!("{USER}:{PASSWORD}@")));
    let wrong = url(&running, "socks5h", "");
    let trusted = ("REQUESTS_CA_BUNDLE", file.to_str().unwrap());
    for variable in ["HTTPS_PROXY", "ALL_PROXY"] {
        assert_eq!(in_environment(&[(variable, right.as_str()), trusted], &server).await, "200", "{variable}");
        let outcome = in_environment(&[(variable, wrong.as_str()), trusted], &server).await;
        assert!(outcome.starts_with(wrong.as_str()), "{outcome}");
    }
}
