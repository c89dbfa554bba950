//! `OpenID` features beyond the grants.

use auth_http::{Method, Request};
use platform_emulator::{AUDIENCE, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::tokens::{
    CHALLENGE, REDIRECT, VERIFIER, claims, code_grant_form, login, redirect_parameters, text, token, user_with,
    user_with_automatic_login,
};
use crate::client::{User, read};

/// The user agent of the official TypeScript tools, in recorded requests.
const TYPESCRIPT: &str = "openid-client/5.7.1 (https://github.com/panva/openid-client)";

async fn document(user: &User, path: &str) -> Value {
    let url = user.emulator.issuer().join(path).unwrap();
    let request = Request::get(url).with_header("user-agent", TYPESCRIPT).with_header("accept", "application/json");
    serde_json::from_slice(&read(user.send(request).await).await.1).unwrap()
}

/// The requests that `@aignostics/cli` 4.0.0 sends during a login, with its issuer `…/oauth`.
#[tokio::test]
async fn typescript_tools_log_in() {
    let user = user_with_automatic_login().await;
    let found = document(&user, "/oauth/.well-known/openid-configuration").await;
    assert_eq!(found, document(&user, "/.well-known/openid-configuration").await);
    // The tools do not pass the issuer to their library, which rejects such responses if the issuer is announced.
    assert!(found.get("authorization_response_iss_parameter_supported").is_none(), "{found}");
    let mut url: Url = found["authorization_endpoint"].as_str().unwrap().parse().unwrap();
    url.query_pairs_mut().extend_pairs([
        ("client_id", INTERACTIVE_CLIENT_ID),
        ("scope", "openid profile email offline_access"),
        ("response_type", "code"),
        ("redirect_uri", REDIRECT),
        ("audience", AUDIENCE),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let back = redirect_parameters(&user, url).await;
    assert_eq!(back.keys().collect::<Vec<_>>(), ["code"]);
    let form = Serializer::new(String::new())
        .extend_pairs([("grant_type", "authorization_code"), ("code", &back["code"]), ("redirect_uri", REDIRECT)])
        .extend_pairs([("code_verifier", VERIFIER), ("client_id", INTERACTIVE_CLIENT_ID)])
        .finish();
    let request = Request::new(Method::Post, found["token_endpoint"].as_str().unwrap().parse().unwrap());
    let request = request.with_header("user-agent", TYPESCRIPT).with_header("accept", "application/json");
    let (status, granted) = read(user.send(request.with_body("application/x-www-form-urlencoded", form)).await).await;
    let granted: Value = serde_json::from_slice(&granted).unwrap();
    assert_eq!((status, text(&granted, "token_type")), (200, "Bearer"), "{granted}");
    assert_eq!(text(&granted, "scope"), "openid profile email offline_access");
    assert!(granted["expires_in"].is_u64() && granted["refresh_token"].is_string(), "{granted}");
    assert_eq!(claims(text(&granted, "id_token"))["iss"], found["issuer"]);
}

#[tokio::test]
async fn announced_issuer_is_sent() {
    let user = user_with("automatic_login = true\nannounce_iss = true").await;
    let found = document(&user, "/.well-known/openid-configuration").await;
    assert_eq!(found["authorization_response_iss_parameter_supported"], true);
    for changes in [vec![], vec![("code_challenge_method", "plain")]] {
        assert_eq!(redirect_parameters(&user, login(&user, &changes)).await["iss"], found["issuer"].as_str().unwrap());
    }
}

#[tokio::test]
async fn id_token_has_auth_time_if_max_age_is_requested() {
    let user = user_with_automatic_login().await;
    for (max_age, stated) in [(Some("3600"), true), (Some("0"), true), (None, false)] {
        let changes: Vec<_> = max_age.iter().map(|seconds| ("max_age", *seconds)).collect();
        let code = redirect_parameters(&user, login(&user, &changes)).await["code"].clone();
        let (_, granted) = token(&user, &code_grant_form(&code, VERIFIER)).await;
        let claims = claims(text(&granted, "id_token"));
        let moment = claims.get("auth_time").map(|moment| moment.as_u64().unwrap());
        assert_eq!(moment.is_some(), stated, "{claims}");
        assert!(moment.is_none_or(|moment| moment <= claims["iat"].as_u64().unwrap()), "{claims}");
    }
    assert_eq!(redirect_parameters(&user, login(&user, &[("max_age", "-1")])).await["error"], "invalid_request");
}

#[tokio::test]
async fn unsupported_response_modes_and_unknown_resources_are_rejected() {
    let user = user_with_automatic_login().await;
    for mode in ["fragment", "form_post", "query.jwt"] {
        assert_eq!(
            redirect_parameters(&user, login(&user, &[("response_mode", mode)])).await["error"],
            "invalid_request"
        );
    }
    assert!(redirect_parameters(&user, login(&user, &[("response_mode", "query")])).await.contains_key("code"));

    assert_eq!(
        redirect_parameters(&user, login(&user, &[("resource", "https://other.test")])).await["error"],
        "invalid_target"
    );
    let code = redirect_parameters(&user, login(&user, &[("resource", AUDIENCE)])).await["code"].clone();
    let machine = [("client_id", MACHINE_CLIENT_ID), ("client_secret", MACHINE_CLIENT_SECRET)];
    let exchange = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
    for (form, error) in [
        ([&machine[..], &[("grant_type", "client_credentials"), ("resource", "urn:x")]].concat(), "invalid_target"),
        ([&machine[..], &[("grant_type", "client_credentials"), ("audience", "urn:x")]].concat(), "invalid_request"),
        ([&machine[..], &[exchange, ("audience", "urn:x")]].concat(), "invalid_target"),
    ] {
        let (status, refused) = token(&user, &form).await;
        assert_eq!((status, text(&refused, "error")), (400, error), "{form:?}");
    }
    let resource = [&code_grant_form(&code, VERIFIER)[..], &[("resource", AUDIENCE)]].concat();
    assert_eq!(token(&user, &resource).await.0, 200);
}

#[tokio::test]
async fn every_401_has_a_challenge() {
    let emulator = platform_emulator::Emulator::builder().with_control().start().await.unwrap();
    let user = User::at(emulator).await;
    let at = |root: &Url, path: &str| Request::get(root.join(path).unwrap());
    let (api, issuer) = (user.emulator.api_root(), user.emulator.issuer());
    let invalid = |request: Request| request.with_header("authorization", "Bearer x");
    let form = "grant_type=client_credentials&client_id=emulator-machine&client_secret=wrong";
    let client = Request::new(Method::Post, issuer.join("/oauth/token").unwrap());
    for (request, challenge) in [
        (at(api, "/api/v1/me"), "Bearer realm=\"emulator\""),
        (invalid(at(api, "/api/v1/me")), "Bearer realm=\"emulator\", error=\"invalid_token\""),
        (at(api, "/_control/faults"), "Bearer realm=\"emulator\""),
        (at(issuer, "/userinfo"), "Bearer realm=\"emulator\""),
        (invalid(at(issuer, "/userinfo")), "Bearer realm=\"emulator\", error=\"invalid_token\""),
        (client.with_body("application/x-www-form-urlencoded", form), "Basic realm=\"emulator\""),
    ] {
        let response = user.send(request).await;
        assert_eq!((response.status(), response.header("www-authenticate")), (401, Some(challenge)));
    }
}
