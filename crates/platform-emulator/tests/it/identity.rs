mod logins;
mod openid;
mod tokens;

use auth_http::Request;

use crate::client::{User, read};

#[tokio::test]
async fn device_code_is_redeemed_once_after_approval() {
    let user = User::anonymous().await;
    let device = user.start_login().await;
    let code = device["device_code"].as_str().unwrap();
    assert_eq!(user.redeem_device_code(code).await.1["error"], "authorization_pending");
    assert_eq!(
        user.redeem_device_code(code).await.1["error"],
        "slow_down",
        "the device polls before the end of the interval"
    );

    let page = user.send(Request::get(device["verification_uri_complete"].as_str().unwrap().parse().unwrap())).await;
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let page = String::from_utf8(read(page).await.1).unwrap();
    assert!(page.contains(device["user_code"].as_str().unwrap()), "{page}");

    let typed_code = device["user_code"].as_str().unwrap().to_lowercase().replace('-', " ");
    assert_eq!(
        user.decide_device_login(&typed_code, "approve").await,
        200,
        "the code is accepted in lower case and without the hyphen"
    );
    assert_eq!(user.redeem_device_code(code).await.0, 200);
    assert_eq!(user.redeem_device_code(code).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn denied_or_unknown_device_login_gets_no_token() {
    let user = User::anonymous().await;
    let device = user.start_login().await;
    user.decide_device_login(device["user_code"].as_str().unwrap(), "deny").await;
    assert_eq!(user.redeem_device_code(device["device_code"].as_str().unwrap()).await.1["error"], "access_denied");
    assert_eq!(user.redeem_device_code("guessed").await.1["error"], "invalid_grant");
    assert_eq!(user.decide_device_login("BBBB-BBBB", "approve").await, 404);
}

#[tokio::test]
async fn activation_page_contains_no_input_from_the_url() {
    let user = User::anonymous().await;
    let url = user.emulator.issuer().join("/activate?user_code=\"><script>alert(1)</script>").unwrap();
    let page = String::from_utf8(read(user.send(Request::get(url)).await).await.1).unwrap();
    assert!(page.contains("<form") && !page.contains("script>alert"), "{page}");
    let device = user.start_login().await;
    let code = device["user_code"].as_str().unwrap();
    let typed_code = code.to_lowercase().replace('-', "\"><");
    let url = user.emulator.issuer().join(&format!("/activate?user_code={typed_code}")).unwrap();
    let page = String::from_utf8(read(user.send(Request::get(url)).await).await.1).unwrap();
    assert!(page.contains(&format!("value=\"{code}\"")) && !page.contains(&typed_code), "{page}");
}

#[tokio::test]
async fn unknown_clients_grants_and_audiences_are_rejected() {
    let user = User::anonymous().await;
    let client = ("client_id", platform_emulator::DEVICE_CLIENT_ID);
    for (path, form, code) in [
        ("/oauth/device/code", vec![("client_id", "other")], "unauthorized_client"),
        ("/oauth/device/code", vec![("client_id", platform_emulator::MACHINE_CLIENT_ID)], "unauthorized_client"),
        ("/oauth/token", vec![client], "invalid_request"),
        ("/oauth/device/code", vec![client, ("audience", "https://other")], "invalid_request"),
        ("/oauth/token", vec![client, ("grant_type", "password")], "unsupported_grant_type"),
    ] {
        let (status, body) = user.post_form(path, &form).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, body["error"].as_str()), (400, Some(code)), "{path} {form:?}");
    }
}

#[tokio::test]
async fn discovery_document_names_the_issuer_and_the_public_keys() {
    let user = User::anonymous().await;
    let url = user.emulator.issuer().join("/.well-known/openid-configuration").unwrap();
    let document: serde_json::Value =
        serde_json::from_slice(&read(user.send(Request::get(url)).await).await.1).unwrap();
    assert_eq!(document["issuer"], user.emulator.issuer().as_str());
    let jwks = document["jwks_uri"].as_str().unwrap().parse().unwrap();
    let keys: serde_json::Value = serde_json::from_slice(&read(user.send(Request::get(jwks)).await).await.1).unwrap();
    assert_eq!((keys["keys"][0]["kty"].as_str(), keys["keys"].as_array().unwrap().len()), (Some("RSA"), 1));
    assert!(keys["keys"][0].get("d").is_none(), "the key set does not contain private keys");
}
