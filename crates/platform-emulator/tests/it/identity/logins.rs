//! Logins with a code, and the login page.

use std::time::Duration;

use auth_http::{Method, Request};
use platform_emulator::{AUDIENCE, Config, DEVICE_CLIENT_ID, Emulator, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID};
use serde_json::{Value, json};
use url::Url;

use super::tokens::{
    VERIFIER, api_status, claims, code_grant_form, login_url, redirect_parameters, refresh, request_token, text_field,
    user_with_automatic_login, user_with_config,
};
use crate::client::{User, clock, read};

#[tokio::test]
async fn code_with_verifier_yields_tokens_with_platform_claims() {
    let user = user_with_automatic_login().await;
    let redirect =
        redirect_parameters(&user, login_url(&user, &[("nonce", "n"), ("login_hint", "cleo@second.test")])).await;
    assert_eq!(redirect["state"], "a&b=c");
    let (status, granted) = request_token(&user, &code_grant_form(&redirect["code"], VERIFIER)).await;
    assert_eq!((status, text_field(&granted, "token_type")), (200, "Bearer"));
    let access = claims(text_field(&granted, "access_token"));
    assert_eq!(access["sub"], "auth0|second-1");
    assert_eq!((&access["aud"], &access["azp"]), (&json!(AUDIENCE), &json!(INTERACTIVE_CLIENT_ID)));
    assert_eq!((&access["org_id"], &access[format!("{AUDIENCE}/role")]), (&json!("org_second"), &json!("member")));
    let identity = claims(text_field(&granted, "id_token"));
    assert_eq!((&identity["aud"], &identity["nonce"]), (&json!(INTERACTIVE_CLIENT_ID), &json!("n")));
    assert_eq!(api_status(&user, text_field(&granted, "access_token")).await, 200);
    let url = user.emulator.issuer().join("/userinfo").unwrap();
    let bearer = format!("Bearer {}", text_field(&granted, "access_token"));
    let (_, profile) = read(user.send(Request::get(url).with_header("authorization", bearer)).await).await;
    assert_eq!(serde_json::from_slice::<Value>(&profile).unwrap()["email"], "cleo@second.test");
}

#[tokio::test]
async fn code_is_valid_once_for_its_client() {
    let user = user_with_automatic_login().await;
    let code = async || redirect_parameters(&user, login_url(&user, &[])).await["code"].clone();
    for (name, value) in [
        ("code_verifier", "another-verifier-that-is-long-enough-to-be-one"),
        ("redirect_uri", "http://localhost:8990/"),
        ("client_id", DEVICE_CLIENT_ID),
        ("code", "guessed"),
    ] {
        let valid_code = code().await;
        let form = code_grant_form(&valid_code, VERIFIER)
            .map(|(field, original)| (field, if field == name { value } else { original }));
        let (status, response) = request_token(&user, &form).await;
        let expected = if name == "client_id" { "unauthorized_client" } else { "invalid_grant" };
        assert_eq!((status, text_field(&response, "error")), (400, expected), "{name}");
    }
    let code = code().await;
    let (_, first) = request_token(&user, &code_grant_form(&code, VERIFIER)).await;
    assert_eq!(api_status(&user, text_field(&first, "access_token")).await, 200);
    assert_eq!(request_token(&user, &code_grant_form(&code, VERIFIER)).await.1["error"], "invalid_grant");
    assert_eq!(
        api_status(&user, text_field(&first, "access_token")).await,
        401,
        "the tokens that were issued for the code are revoked"
    );
    assert_eq!(refresh(&user, text_field(&first, "refresh_token")).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn authorization_code_expires() {
    let clock = clock();
    let config: Config = toml::from_str("automatic_login = true").unwrap();
    let emulator = Emulator::builder().with_config(config).with_clock(clock.clone()).start().await.unwrap();
    let user = User::anonymous_of(emulator);
    let code = redirect_parameters(&user, login_url(&user, &[])).await["code"].clone();
    clock.advance(Duration::from_secs(60));
    assert_eq!(request_token(&user, &code_grant_form(&code, VERIFIER)).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn untrusted_login_request_is_not_redirected() {
    let user = user_with_automatic_login().await;
    for change in [
        ("client_id", "other"),
        ("client_id", ""),
        ("redirect_uri", "https://evil.example/"),
        ("redirect_uri", "http://localhost.evil.example/"),
        ("redirect_uri", ""),
    ] {
        let response = user.send(Request::get(login_url(&user, &[change]))).await;
        assert_eq!((response.status(), response.header("location")), (400, None), "{change:?}");
    }
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("audience", "https://other"), "invalid_request"),
        (("client_id", MACHINE_CLIENT_ID), "unauthorized_client"),
        (("login_hint", "no-such-user"), "access_denied"),
    ] {
        let redirect = redirect_parameters(&user, login_url(&user, &[change])).await;
        assert_eq!((redirect["error"].as_str(), redirect["state"].as_str()), (error, "a&b=c"), "{change:?}");
        assert!(!redirect.contains_key("code"));
    }
    let user_without_automatic_login = user_with_config("").await;
    assert_eq!(
        redirect_parameters(
            &user_without_automatic_login,
            login_url(&user_without_automatic_login, &[("prompt", "none")])
        )
        .await["error"],
        "login_required"
    );
    let url_with_duplicate = format!("{}&state=other", login_url(&user, &[])).parse().unwrap();
    assert_eq!(user.send(Request::get(url_with_duplicate)).await.status(), 400);
}

#[tokio::test]
async fn login_page_lists_the_permitted_users() {
    let user = user_with_config("").await;
    let url = login_url(&user, &[("organization", "org_emulator"), ("login_hint", "ben@emulator.test")]);
    let response = user.send(Request::get(url.clone())).await;
    assert!(response.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    let page = String::from_utf8(read(response).await.1).unwrap();
    assert!(
        page.contains(r#"value="auth0|emulator-2" required checked"#) && !page.contains("cleo@second.test"),
        "{page}"
    );
    assert!(page.contains(r#"name="state" value="a&amp;b=c""#), "{page}");
    let decide = async |id: &str, decision: &str| {
        let mut form: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        form.extend([("user", id), ("decision", decision)].map(|(name, value)| (name.to_owned(), value.to_owned())));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let authorize_url = user.emulator.issuer().join("/authorize").unwrap();
        let request = Request::new(Method::Post, authorize_url).with_body("application/x-www-form-urlencoded", body);
        let redirect: Url = user.send(request).await.header("location").unwrap().parse().unwrap();
        redirect.query_pairs().into_owned().collect::<std::collections::HashMap<_, _>>()
    };
    let redirect = decide("auth0|emulator-2", "approve").await;
    let (_, granted) = request_token(&user, &code_grant_form(&redirect["code"], VERIFIER)).await;
    assert_eq!(claims(text_field(&granted, "access_token"))["sub"], "auth0|emulator-2");
    assert_eq!(decide("auth0|emulator-2", "deny").await["error"], "access_denied");
    assert_eq!(
        decide("auth0|second-1", "approve").await["error"],
        "access_denied",
        "the user belongs to another organization"
    );
    assert_eq!(decide(&format!("{MACHINE_CLIENT_ID}@clients"), "approve").await["error"], "access_denied");
}
