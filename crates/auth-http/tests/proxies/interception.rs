//! An intercepting proxy with its own certificate authority.

use auth_http::{Proxy, Request};

use crate::authority::Authority;
use crate::exchange::{client, error_details, get};
use crate::process::RunningProxy;
use crate::program::{AUTHORITY, mitmproxy};
use crate::server::serve;

#[tokio::test]
async fn intercepting_proxy_is_trusted_only_with_its_ca() {
    let authority = Authority::new();
    let url = serve(&authority, None).await;
    let Some(running) = RunningProxy::start(mitmproxy(authority.file())).await else { return };
    let client_with_proxy = || client().with_proxy(Proxy::new(running.url()));

    // Trusting the authority of the server is not enough, because the client receives the certificate of the proxy.
    let error = get(client_with_proxy().with_root_certificates(authority.file()), &url).await.unwrap_err();
    let message = error.to_string();
    assert!(error.is_untrusted() && error.is_connect(), "{}", error_details(&error));
    assert_eq!(error.proxy(), Some(running.shown().as_str()), "{message}");
    for part in [running.shown(), "not trusted by this system".to_owned(), authority.file().display().to_string()] {
        assert!(message.contains(&part), "{part}: {message}");
    }

    let trusting_client = client_with_proxy().with_root_certificates(running.file(AUTHORITY)).build().unwrap();
    let response = trusting_client.send(Request::get(url)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(&response.bytes(100).await.unwrap()[..], b"in");
}
