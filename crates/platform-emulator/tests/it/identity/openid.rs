//! Features of `OpenID` Connect in addition to the OAuth grants.

use auth_http::{Method, Request};
use platform_emulator::{AUDIENCE, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::tokens::{
    CHALLENGE, REDIRECT_URI, VERIFIER, claims, code_grant_form, login_url, redirect_parameters, request_token,
    text_field, user_with_automatic_login, user_with_config,
};
use crate::client::{User, read};

/// The user agent of the official TypeScript tools, in recorded requests.
const TYPESCRIPT_USER_AGENT: &str = "openid-client/5.7.1 (https://github.com/panva/openid-client)";

async fn fetch_document(user: &User, path: &str) -> Value {
    let url = user.emulator.issuer().join(path).unwrap();
    let request =
        Request::get(url).with_header("user-agent", TYPESCRIPT_USER_AGENT).with_header("accept", "application/json");
    serde_json::from_slice(&read(user.send(request).await).await.1).unwrap()
}

/// The requests that `@aignostics/cli` 4.0.0 sends during a login, with its issuer `…/oauth`.
#[tokio::test]
async fn typescript_tools_log_in() {
    let user = user_with_automatic_login().await;
    let document = fetch_document(&user, "/oauth/.well-known/openid-configuration").await;
    assert_eq!(document, fetch_document(&user, "/.well-known/openid-configuration").await);
    // The tools do not pass the issuer to their library, which rejects such responses if the issuer is announced.
    assert!(document.get("authorization_response_iss_parameter_supported").is_none(), "{document}");
    let mut url: Url = document["authorization_endpoint"].as_str().unwrap().parse().unwrap();
    url.query_pairs_mut().extend_pairs([
        ("client_id", INTERACTIVE_CLIENT_ID),
        ("scope", "openid profile email offline_access"),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT_URI),
        ("audience", AUDIENCE),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let redirect = redirect_parameters(&user, url).await;
    assert_eq!(redirect.keys().collect::<Vec<_>>(), ["code"]);
    let form = Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", &redirect["code"]),
            ("redirect_uri", REDIRECT_URI),
        ])
        .extend_pairs([("code_verifier", VERIFIER), ("client_id", INTERACTIVE_CLIENT_ID)])
        .finish();
    let request = Request::new(Method::Post, document["token_endpoint"].as_str().unwrap().parse().unwrap());
    let request = request.with_header("user-agent", TYPESCRIPT_USER_AGENT).with_header("accept", "application/json");
    let (status, granted) = read(user.send(request.with_body("application/x-www-form-urlencoded", form)).await).await;
    let granted: Value = serde_json::from_slice(&granted).unwrap();
    assert_eq!((status, text_field(&granted, "token_type")), (200, "Bearer"), "{granted}");
    assert_eq!(text_field(&granted, "scope"), "openid profile email offline_access");
    assert!(granted["expires_in"].is_u64() && granted["refresh_token"].is_string(), "{granted}");
    assert_eq!(claims(text_field(&granted, "id_token"))["iss"], document["issuer"]);
}

#[tokio::test]
async fn announced_issuer_is_sent() {
    let user = user_with_config("automatic_login = true\nannounce_iss = true").await;
    let document = fetch_document(&user, "/.well-known/openid-configuration").await;
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    for changes in [vec![], vec![("code_challenge_method", "plain")]] {
        assert_eq!(
            redirect_parameters(&user, login_url(&user, &changes)).await["iss"],
            document["issuer"].as_str().unwrap()
        );
    }
}

#[tokio::test]
async fn id_token_has_auth_time_if_max_age_is_requested() {
    let user = user_with_automatic_login().await;
    for (max_age, has_auth_time) in [(Some("3600"), true), (Some("0"), true), (None, false)] {
        let changes: Vec<_> = max_age.iter().map(|seconds| ("max_age", *seconds)).collect();
        let code = redirect_parameters(&user, login_url(&user, &changes)).await["code"].clone();
        let (_, granted) = request_token(&user, &code_grant_form(&code, VERIFIER)).await;
        let claims = claims(text_field(&granted, "id_token"));
        let moment = claims.get("auth_time").map(|moment| moment.as_u64().unwrap());
        assert_eq!(moment.is_some(), has_auth_time, "{claims}");
        assert!(moment.is_none_or(|moment| moment <= claims["iat"].as_u64().unwrap()), "{claims}");
    }
    assert_eq!(redirect_parameters(&user, login_url(&user, &[("max_age", "-1")])).await["error"], "invalid_request");
}

#[tokio::test]
async fn unsupported_response_modes_and_unknown_resources_are_rejected() {
    let user = user_with_automatic_login().await;
    for mode in ["fragment", "form_post", "query.jwt"] {
        assert_eq!(
            redirect_parameters(&user, login_url(&user, &[("response_mode", mode)])).await["error"],
            "invalid_request"
        );
    }
    assert!(redirect_parameters(&user, login_url(&user, &[("response_mode", "query")])).await.contains_key("code"));

    assert_eq!(
        redirect_parameters(&user, login_url(&user, &[("resource", "https://other.test")])).await["error"],
        "invalid_target"
    );
    let code = redirect_parameters(&user, login_url(&user, &[("resource", AUDIENCE)])).await["code"].clone();
    let machine = [("client_id", MACHINE_CLIENT_ID), ("client_secret", MACHINE_CLIENT_SECRET)];
    let exchange = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
    for (form, error) in [
        ([&machine[..], &[("grant_type", "client_credentials"), ("resource", "urn:x")]].concat(), "invalid_target"),
        ([&machine[..], &[("grant_type", "client_credentials"), ("audience", "urn:x")]].concat(), "invalid_request"),
        ([&machine[..], &[exchange, ("audience", "urn:x")]].concat(), "invalid_target"),
    ] {
        let (status, error_response) = request_token(&user, &form).await;
        assert_eq!((status, text_field(&error_response, "error")), (400, error), "{form:?}");
    }
    let resource = [&code_grant_form(&code, VERIFIER)[..], &[("resource", AUDIENCE)]].concat();
    assert_eq!(request_token(&user, &resource).await.0, 200);
}

#[tokio::test]
async fn every_401_has_a_challenge() {
    let emulator = platform_emulator::Emulator::builder().with_control().start().await.unwrap();
    let user = User::logged_in_to(emulator).await;
    let get = |root: &Url, path: &str| Request::get(root.join(path).unwrap());
    let (api, issuer) = (user.emulator.api_root(), user.emulator.issuer());
    let with_invalid_token = |request: Request| request.with_header("authorization", "Bearer x");
    let form = "grant_type=client_credentials&client_id=emulator-machine&client_secret=wrong";
    let client = Request::new(Method::Post, issuer.join("/oauth/token").unwrap());
    for (request, challenge) in [
        (get(api, "/api/v1/me"), "Bearer realm=\"emulator\""),
        (with_invalid_token(get(api, "/api/v1/me")), "Bearer realm=\"emulator\", error=\"invalid_token\""),
        (get(api, "/_control/faults"), "Bearer realm=\"emulator\""),
        (get(issuer, "/userinfo"), "Bearer realm=\"emulator\""),
        (with_invalid_token(get(issuer, "/userinfo")), "Bearer realm=\"emulator\", error=\"invalid_token\""),
        (client.with_body("application/x-www-form-urlencoded", form), "Basic realm=\"emulator\""),
    ] {
        let response = user.send(request).await;
        assert_eq!((response.status(), response.header("www-authenticate")), (401, Some(challenge)));
    }
}
