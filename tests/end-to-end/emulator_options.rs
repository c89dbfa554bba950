//! Options of `aignostics emulator` that change how clients are answered.

use auth_http::Request;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::command::Lab;
use crate::emulator::{Running, http, send};

#[test]
fn python_oauth_library_may_use_plain_http() {
    let lab = Lab::new();
    let plain = Running::start(&lab, &[]);
    assert_eq!(plain.ready["env"]["OAUTHLIB_INSECURE_TRANSPORT"], "1");
    let file = lab.path("authority.pem");
    let tls = Running::start(&lab, &["--tls", file.to_str().unwrap()]);
    assert_eq!(tls.ready["env"]["OAUTHLIB_INSECURE_TRANSPORT"], Value::Null);
}

#[test]
fn issuer_is_announced_and_an_origin_permitted_by_options() {
    let lab = Lab::new();
    let running = Running::start(&lab, &["--announce-iss", "--cors-origin", "https://app.example"]);
    let runtime = Runtime::new().unwrap();
    let discovery = Request::get(running.url("issuer", "/oauth/.well-known/openid-configuration"));
    let (_, document) = runtime.block_on(send(discovery));
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    let health = Request::get(running.url("api_root", "/health")).with_header("origin", "https://app.example");
    let response = runtime.block_on(http().send(health)).unwrap();
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
}
