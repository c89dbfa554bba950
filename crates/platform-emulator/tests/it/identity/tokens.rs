//! The OAuth grants, over HTTP.

use std::time::Duration;

use auth_http::{Method, Request};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use platform_emulator::{
    AUDIENCE, Config, DEVICE_CLIENT_ID, Emulator, INTERACTIVE_CLIENT_ID, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET,
};
use serde_json::{Value, json};
use url::Url;

use crate::client::{User, clock, read};

pub(super) const REDIRECT_URI: &str = "http://localhost:8989/";
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The SHA-256 of the verifier. Both are the example of RFC 7636, appendix B.
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(super) async fn user_with_config(config: &str) -> User {
    let config: Config = toml::from_str(config).unwrap();
    User::anonymous_of(Emulator::builder().with_config(config).start().await.unwrap())
}

pub(super) async fn user_with_automatic_login() -> User {
    user_with_config("automatic_login = true").await
}

/// Returns the URL of a login. `changes` replaces parameters, or removes them if their value is empty.
pub(super) fn login_url(user: &User, changes: &[(&str, &str)]) -> Url {
    let mut parameters = vec![
        ("client_id", INTERACTIVE_CLIENT_ID),
        ("redirect_uri", REDIRECT_URI),
        ("response_type", "code"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("audience", AUDIENCE),
        ("scope", "openid offline_access"),
        ("state", "a&b=c"),
    ];
    parameters.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    parameters.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    let mut url = user.emulator.issuer().join("/authorize").unwrap();
    url.query_pairs_mut().extend_pairs(parameters);
    url
}

/// Opens a login URL, and returns the query parameters of the redirect to the client.
pub(super) async fn redirect_parameters(user: &User, url: Url) -> std::collections::HashMap<String, String> {
    let response = user.send(Request::get(url)).await;
    assert_eq!(response.status(), 303);
    let redirect: Url = response.header("location").unwrap().parse().unwrap();
    assert!(redirect.as_str().starts_with(REDIRECT_URI));
    redirect.query_pairs().into_owned().collect()
}

pub(super) async fn request_token(user: &User, form: &[(&str, &str)]) -> (u16, Value) {
    let (status, body) = user.post_form("/oauth/token", form).await;
    (status, serde_json::from_slice(&body).unwrap())
}

pub(super) fn code_grant_form<'a>(code: &'a str, verifier: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", INTERACTIVE_CLIENT_ID),
        ("redirect_uri", REDIRECT_URI),
        ("code", code),
        ("code_verifier", verifier),
    ]
}

/// Logs in with an authorization code, and returns the response of the token endpoint.
async fn log_in_with_code(user: &User) -> Value {
    let code = redirect_parameters(user, login_url(user, &[])).await["code"].clone();
    let (status, granted) = request_token(user, &code_grant_form(&code, VERIFIER)).await;
    assert_eq!(status, 200, "{granted}");
    granted
}

pub(super) async fn refresh(user: &User, refresh_token: &str) -> (u16, Value) {
    let client = ("client_id", INTERACTIVE_CLIENT_ID);
    request_token(user, &[("grant_type", "refresh_token"), client, ("refresh_token", refresh_token)]).await
}

pub(super) async fn api_status(user: &User, access_token: &str) -> u16 {
    let url = user.emulator.api_root().join("/api/v1/me").unwrap();
    user.send(Request::get(url).with_header("authorization", format!("Bearer {access_token}"))).await.status()
}

pub(super) fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

pub(super) fn text_field<'a>(response: &'a Value, name: &str) -> &'a str {
    response[name].as_str().unwrap_or_else(|| panic!("no {name}: {response}"))
}

#[tokio::test]
async fn reuse_of_a_refresh_token_revokes_the_login() {
    let user = user_with_automatic_login().await;
    let first = log_in_with_code(&user).await;
    let (status, second) = refresh(&user, text_field(&first, "refresh_token")).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_eq!(api_status(&user, text_field(&second, "access_token")).await, 200);
    let reused = refresh(&user, text_field(&first, "refresh_token")).await;
    assert_eq!((reused.0, text_field(&reused.1, "error")), (400, "invalid_grant"));
    assert_eq!(
        refresh(&user, text_field(&second, "refresh_token")).await.1["error"],
        "invalid_grant",
        "the reuse revokes all refresh tokens of the login"
    );
}

#[tokio::test]
async fn rejected_refresh_does_not_consume_the_refresh_token() {
    let user = user_with_automatic_login().await;
    let tokens = log_in_with_code(&user).await;
    let refresh_token = text_field(&tokens, "refresh_token");
    let refresh_with_scope = async |scope: &str| {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", INTERACTIVE_CLIENT_ID),
            ("refresh_token", refresh_token),
            ("scope", scope),
        ];
        request_token(&user, &form).await
    };
    assert_eq!(refresh_with_scope("openid admin").await.1["error"], "invalid_scope");
    // A refresh token with a typing error does not affect the login.
    assert_eq!(refresh(&user, &format!("{refresh_token}x")).await.1["error"], "invalid_grant");
    let unknown_token = format!("{}.garbage", refresh_token.split_once('.').unwrap().0);
    assert_eq!(
        user.post_form("/oauth/revoke", &[("client_id", INTERACTIVE_CLIENT_ID), ("token", &unknown_token)]).await.0,
        200
    );
    let (status, response) = refresh_with_scope(" openid  offline_access").await;
    assert_eq!((status, text_field(&response, "scope")), (200, "openid offline_access"));
}

#[tokio::test]
async fn refresh_token_can_be_reused_within_the_grace_period() {
    let clock = clock();
    let config = "automatic_login = true\nrefresh_grace_seconds = 30\nrefresh_lifetime_seconds = 3600";
    let config: Config = toml::from_str(config).unwrap();
    let emulator = Emulator::builder().with_config(config).with_clock(clock.clone()).start().await.unwrap();
    let user = User::anonymous_of(emulator);
    let first = log_in_with_code(&user).await;
    let (_, second) = refresh(&user, text_field(&first, "refresh_token")).await;
    clock.advance(Duration::from_secs(29));
    let (status, third) = refresh(&user, text_field(&first, "refresh_token")).await;
    assert_eq!(status, 200, "{third}");
    clock.advance(Duration::from_secs(31));
    assert_eq!(refresh(&user, text_field(&second, "refresh_token")).await.0, 400);
    assert_eq!(refresh(&user, text_field(&third, "refresh_token")).await.0, 400, "the login is revoked");
    let second_login = log_in_with_code(&user).await;
    clock.advance(Duration::from_secs(3600));
    assert_eq!(refresh(&user, text_field(&second_login, "refresh_token")).await.0, 400, "the login has expired");
}

#[tokio::test]
async fn machine_authenticates_with_its_secret_in_the_header_or_in_the_form() {
    let user = user_with_automatic_login().await;
    let grant = ("grant_type", "client_credentials");
    let post = [grant, ("client_id", MACHINE_CLIENT_ID), ("client_secret", MACHINE_CLIENT_SECRET)];
    let (status, response) = request_token(&user, &post).await;
    assert_eq!((status, response.get("refresh_token")), (200, None));
    let access = claims(text_field(&response, "access_token"));
    assert_eq!(access["sub"], format!("{MACHINE_CLIENT_ID}@clients"));
    assert_eq!(api_status(&user, text_field(&response, "access_token")).await, 200);

    let token_url = user.emulator.issuer().join("/oauth/token").unwrap();
    let basic_with = async |secret: &str, extra_parameters: &str| {
        let credentials = STANDARD.encode(format!("{MACHINE_CLIENT_ID}:{secret}"));
        let request = Request::new(Method::Post, token_url.clone())
            .with_body("application/x-www-form-urlencoded", format!("grant_type=client_credentials{extra_parameters}"))
            .with_header("authorization", format!("bASIC {credentials}"));
        user.send(request).await
    };
    let basic = async |secret: &str| basic_with(secret, "").await;
    for extra_parameters in ["&client_secret=x", "&client_id=other"] {
        assert_eq!(basic_with(MACHINE_CLIENT_SECRET, extra_parameters).await.status(), 400, "{extra_parameters}");
    }
    let accepted = basic(MACHINE_CLIENT_SECRET).await;
    assert_eq!((accepted.status(), accepted.header("cache-control")), (200, Some("no-store")));
    let rejected = basic("guessed").await;
    assert_eq!(rejected.status(), 401);
    assert!(rejected.header("www-authenticate").unwrap().starts_with("Basic"));
    let (status, response) = request_token(&user, &[grant, ("client_id", MACHINE_CLIENT_ID)]).await;
    assert_eq!((status, text_field(&response, "error")), (401, "invalid_client"));
    let (status, response) = request_token(&user, &[grant, ("client_id", INTERACTIVE_CLIENT_ID)]).await;
    assert_eq!((status, text_field(&response, "error")), (400, "unauthorized_client"));
    let duplicate_parameter = [grant, grant, ("client_id", MACHINE_CLIENT_ID)];
    assert_eq!(request_token(&user, &duplicate_parameter).await.1["error"], "invalid_request");
    let json = json!({ "grant_type": "client_credentials", "client_id": MACHINE_CLIENT_ID, "client_secret": MACHINE_CLIENT_SECRET });
    let request = Request::new(Method::Post, token_url.clone()).with_body("application/json", json.to_string());
    assert_eq!(user.send(request).await.status(), 200);
    let request = Request::new(Method::Post, token_url).with_body("text/xml", "<grant/>");
    assert_eq!(user.send(request).await.status(), 400);
}

#[tokio::test]
async fn machine_exchanges_the_token_of_a_user() {
    let user = user_with_automatic_login().await;
    let user_tokens = log_in_with_code(&user).await;
    let subject = text_field(&user_tokens, "access_token");
    let machine = [("client_id", MACHINE_CLIENT_ID), ("client_secret", MACHINE_CLIENT_SECRET)];
    let bearer = [&machine[..], &[("grant_type", JWT_BEARER), ("assertion", subject)]].concat();
    let (status, response) = request_token(&user, &bearer).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(claims(text_field(&response, "access_token"))["sub"], "auth0|emulator-1");

    let exchange = |token: &'static str, token_type: &'static str, scope: &'static str| {
        let subject = if token.is_empty() { subject } else { token };
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", subject),
            ("subject_token_type", token_type),
            ("scope", scope),
        ];
        [&machine[..], &form].concat()
    };
    let (status, response) = request_token(&user, &exchange("", ACCESS_TOKEN, "openid")).await;
    assert_eq!(
        (status, text_field(&response, "issued_token_type"), text_field(&response, "scope")),
        (200, ACCESS_TOKEN, "openid")
    );
    assert_eq!(claims(text_field(&response, "access_token"))["act"]["sub"], MACHINE_CLIENT_ID);
    for (form, error) in [
        (exchange("", ACCESS_TOKEN, "admin"), "invalid_scope"),
        (exchange("", "urn:other", "openid"), "invalid_request"),
        (exchange("a.b.c", ACCESS_TOKEN, "openid"), "invalid_request"),
        ([&machine[..], &[("grant_type", JWT_BEARER), ("assertion", "a.b.c")]].concat(), "invalid_grant"),
        ([&machine[..], &[("grant_type", JWT_BEARER)]].concat(), "invalid_request"),
    ] {
        let (status, response) = request_token(&user, &form).await;
        assert_eq!((status, text_field(&response, "error")), (400, error), "{form:?}");
    }
}

#[tokio::test]
async fn revoked_token_is_invalid() {
    let user = user_with_automatic_login().await;
    let revoke = async |token: &str| {
        let form = [("client_id", INTERACTIVE_CLIENT_ID), ("token", token)];
        user.post_form("/oauth/revoke", &form).await.0
    };
    let granted = log_in_with_code(&user).await;
    assert_eq!(revoke("unknown").await, 200);
    let by_other_client = [("client_id", DEVICE_CLIENT_ID), ("token", text_field(&granted, "access_token"))];
    assert_eq!(user.post_form("/oauth/revoke", &by_other_client).await.0, 200);
    assert_eq!(
        api_status(&user, text_field(&granted, "access_token")).await,
        200,
        "another client cannot revoke the token"
    );
    assert_eq!(revoke(text_field(&granted, "access_token")).await, 200);
    assert_eq!(api_status(&user, text_field(&granted, "access_token")).await, 401);
    assert_eq!(revoke(text_field(&granted, "refresh_token")).await, 200);
    assert_eq!(refresh(&user, text_field(&granted, "refresh_token")).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn device_that_polls_too_often_gets_slow_down() {
    let clock = clock();
    let emulator = Emulator::builder().with_clock(clock.clone()).start().await.unwrap();
    let user = User::anonymous_of(emulator);
    let device = user.start_login().await;
    let code = text_field(&device, "device_code");
    let poll_after = async |seconds: u64| {
        clock.advance(Duration::from_secs(seconds));
        user.redeem_device_code(code).await.1["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(poll_after(0).await, "authorization_pending");
    assert_eq!(poll_after(4).await, "slow_down");
    assert_eq!(poll_after(6).await, "slow_down", "the first slow_down increased the interval to ten seconds");
    assert_eq!(poll_after(15).await, "authorization_pending");
    assert_eq!(poll_after(600).await, "expired_token");
}

/// Returns the first of three consecutive free ports.
fn free_ports() -> u16 {
    let bind = |port| std::net::TcpListener::bind(("127.0.0.1", port));
    loop {
        let port = bind(0).unwrap().local_addr().unwrap().port();
        if port < u16::MAX - 2 && (0..3).all(|offset| bind(port + offset).is_ok()) {
            return port;
        }
    }
}

#[test]
fn logins_and_revocations_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config: Config = toml::from_str("automatic_login = true").unwrap();
    // Both starts use the same port, because the issuer in the tokens contains it.
    let port = free_ports();
    let run_session = |test: &dyn Fn(User) -> std::pin::Pin<Box<dyn Future<Output = Value>>>| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let builder = Emulator::builder().with_config(config.clone()).with_data_folder(folder.path());
        runtime.block_on(async { test(User::anonymous_of(builder.with_port(port).start().await.unwrap())).await })
    };
    let before = run_session(&|user| {
        Box::pin(async move {
            let granted = log_in_with_code(&user).await;
            let revoked = log_in_with_code(&user).await;
            let form = [("client_id", INTERACTIVE_CLIENT_ID), ("token", text_field(&revoked, "access_token"))];
            assert_eq!(user.post_form("/oauth/revoke", &form).await.0, 200);
            json!([granted, revoked])
        })
    });
    let after = run_session(&move |user| {
        let before = before.clone();
        Box::pin(async move {
            assert_eq!(api_status(&user, text_field(&before[0], "access_token")).await, 200);
            assert_eq!(api_status(&user, text_field(&before[1], "access_token")).await, 401);
            refresh(&user, text_field(&before[0], "refresh_token")).await.1
        })
    });
    assert!(after["access_token"].is_string(), "{after}");
}

#[tokio::test]
async fn tokens_of_a_trusted_provider_are_valid_for_mapped_subjects() {
    let provider = user_with_automatic_login().await;
    let issuer = provider.emulator.issuer().as_str();
    let config = |audience: &str, issuer: &str| {
        format!(
            "[external_issuer]\nissuer = \"{issuer}\"\naudience = \"{audience}\"\nsubjects = {{ \"auth0|emulator-1\" = \"auth0|second-1\" }}\n"
        )
    };
    let user = user_with_config(&config(AUDIENCE, issuer)).await;
    let provider_tokens = log_in_with_code(&provider).await;
    let provider_token = text_field(&provider_tokens, "access_token");
    let url = user.emulator.api_root().join("/api/v1/me").unwrap();
    let me = user.send(Request::get(url).with_header("authorization", format!("Bearer {provider_token}"))).await;
    let (status, me) = read(me).await;
    let me: Value = serde_json::from_slice(&me).unwrap();
    assert_eq!((status, &me["user"]["id"]), (200, &json!("auth0|second-1")), "the subject is mapped to this user");

    let machine = [("client_id", MACHINE_CLIENT_ID), ("client_secret", MACHINE_CLIENT_SECRET)];
    let (_, machine) =
        request_token(&provider, &[&machine[..], &[("grant_type", "client_credentials")]].concat()).await;
    assert_eq!(api_status(&user, text_field(&machine, "access_token")).await, 403, "the subject is not mapped");
    assert_eq!(api_status(&user, &format!("{provider_token}x")).await, 401);
    assert_eq!(api_status(&user_with_config(&config("https://other", issuer)).await, provider_token).await, 401);
    assert_eq!(
        api_status(
            &user_with_config(&config(AUDIENCE, &issuer.replace("127.0.0.1", "localhost"))).await,
            provider_token
        )
        .await,
        401
    );
    assert_eq!(api_status(&user_with_config("").await, provider_token).await, 401);
    let invalid: Config =
        toml::from_str("[external_issuer]\nissuer = \"x\"\naudience = \"y\"\nsubjects = { a = \"b\" }").unwrap();
    let error = Emulator::builder().with_config(invalid).start().await.unwrap_err().to_string();
    assert!(error.contains("`a` is mapped to the unknown user `b`"), "{error}");
}
