//! The grants, over HTTP.

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

pub(super) const REDIRECT: &str = "http://localhost:8989/";
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// SHA-256 of the verifier: the example of RFC 7636, appendix B.
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(super) async fn user_with(config: &str) -> User {
    let config: Config = toml::from_str(config).unwrap();
    User::anonymous_at(Emulator::builder().with_config(config).start().await.unwrap())
}

pub(super) async fn user_with_automatic_login() -> User {
    user_with("automatic_login = true").await
}

/// Returns the URL of a login, with some parameters replaced.
pub(super) fn login(user: &User, changes: &[(&str, &str)]) -> Url {
    let mut parameters = vec![
        ("client_id", INTERACTIVE_CLIENT_ID),
        ("redirect_uri", REDIRECT),
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

/// Returns the query parameters of the redirect.
pub(super) async fn redirect_parameters(user: &User, url: Url) -> std::collections::HashMap<String, String> {
    let response = user.send(Request::get(url)).await;
    assert_eq!(response.status(), 303);
    let back: Url = response.header("location").unwrap().parse().unwrap();
    assert!(back.as_str().starts_with(REDIRECT));
    back.query_pairs().into_owned().collect()
}

pub(super) async fn token(user: &User, form: &[(&str, &str)]) -> (u16, Value) {
    let (status, body) = user.post("/oauth/token", form).await;
    (status, serde_json::from_slice(&body).unwrap())
}

pub(super) fn code_grant_form<'a>(code: &'a str, verifier: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", INTERACTIVE_CLIENT_ID),
        ("redirect_uri", REDIRECT),
        ("code", code),
        ("code_verifier", verifier),
    ]
}

/// Logs in with a code, and returns the response of the token endpoint.
async fn granted(user: &User) -> Value {
    let code = redirect_parameters(user, login(user, &[])).await["code"].clone();
    let (status, granted) = token(user, &code_grant_form(&code, VERIFIER)).await;
    assert_eq!(status, 200, "{granted}");
    granted
}

pub(super) async fn refresh(user: &User, refresh_token: &str) -> (u16, Value) {
    let client = ("client_id", INTERACTIVE_CLIENT_ID);
    token(user, &[("grant_type", "refresh_token"), client, ("refresh_token", refresh_token)]).await
}

pub(super) async fn api_status(user: &User, access_token: &str) -> u16 {
    let url = user.emulator.api_root().join("/api/v1/me").unwrap();
    user.send(Request::get(url).with_header("authorization", format!("Bearer {access_token}"))).await.status()
}

pub(super) fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

pub(super) fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer}"))
}

#[tokio::test]
async fn reuse_of_a_refresh_token_revokes_the_login() {
    let user = user_with_automatic_login().await;
    let first = granted(&user).await;
    let (status, second) = refresh(&user, text(&first, "refresh_token")).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_eq!(api_status(&user, text(&second, "access_token")).await, 200);
    let reused = refresh(&user, text(&first, "refresh_token")).await;
    assert_eq!((reused.0, text(&reused.1, "error")), (400, "invalid_grant"));
    assert_eq!(refresh(&user, text(&second, "refresh_token")).await.1["error"], "invalid_grant", "all of them");
}

#[tokio::test]
async fn rejected_refresh_does_not_consume_the_refresh_token() {
    let user = user_with_automatic_login().await;
    let login = granted(&user).await;
    let refresh_token = text(&login, "refresh_token");
    let scoped = async |scope: &str| {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", INTERACTIVE_CLIENT_ID),
            ("refresh_token", refresh_token),
            ("scope", scope),
        ];
        token(&user, &form).await
    };
    assert_eq!(scoped("openid admin").await.1["error"], "invalid_scope");
    // A mistyped token does not affect the login.
    assert_eq!(refresh(&user, &format!("{refresh_token}x")).await.1["error"], "invalid_grant");
    let garbage = format!("{}.garbage", refresh_token.split_once('.').unwrap().0);
    assert_eq!(user.post("/oauth/revoke", &[("client_id", INTERACTIVE_CLIENT_ID), ("token", &garbage)]).await.0, 200);
    let (status, answer) = scoped(" openid  offline_access").await;
    assert_eq!((status, text(&answer, "scope")), (200, "openid offline_access"));
}

#[tokio::test]
async fn refresh_token_can_be_reused_within_the_grace_period() {
    let clock = clock();
    let config = "automatic_login = true\nrefresh_grace_seconds = 30\nrefresh_lifetime_seconds = 3600";
    let config: Config = toml::from_str(config).unwrap();
    let emulator = Emulator::builder().with_config(config).with_clock(clock.clone()).start().await.unwrap();
    let user = User::anonymous_at(emulator);
    let first = granted(&user).await;
    let (_, second) = refresh(&user, text(&first, "refresh_token")).await;
    clock.advance(Duration::from_secs(29));
    let (status, third) = refresh(&user, text(&first, "refresh_token")).await;
    assert_eq!(status, 200, "{third}");
    clock.advance(Duration::from_secs(31));
    assert_eq!(refresh(&user, text(&second, "refresh_token")).await.0, 400);
    assert_eq!(refresh(&user, text(&third, "refresh_token")).await.0, 400, "the login is revoked");
    let other = granted(&user).await;
    clock.advance(Duration::from_secs(3600));
    assert_eq!(refresh(&user, text(&other, "refresh_token")).await.0, 400, "the login has ended");
}

#[tokio::test]
async fn machine_authenticates_with_its_secret_in_the_header_or_in_the_form() {
    let user = user_with_automatic_login().await;
    let grant = ("grant_type", "client_credentials");
    let post = [grant, ("client_id", MACHINE_CLIENT_ID), ("client_secret", MACHINE_CLIENT_SECRET)];
    let (status, answer) = token(&user, &post).await;
    assert_eq!((status, answer.get("refresh_token")), (200, None));
    let access = claims(text(&answer, "access_token"));
    assert_eq!(access["sub"], format!("{MACHINE_CLIENT_ID}@clients"));
    assert_eq!(api_status(&user, text(&answer, "access_token")).await, 200);

    let at = user.emulator.issuer().join("/oauth/token").unwrap();
    let basic_with = async |secret: &str, more: &str| {
        let credentials = STANDARD.encode(format!("{MACHINE_CLIENT_ID}:{secret}"));
        let request = Request::new(Method::Post, at.clone())
            .with_body("application/x-www-form-urlencoded", format!("grant_type=client_credentials{more}"))
            .with_header("authorization", format!("bASIC {credentials}"));
        user.send(request).await
    };
    let basic = async |secret: &str| basic_with(secret, "").await;
    for more in ["&client_secret=x", "&client_id=other"] {
        assert_eq!(basic_with(MACHINE_CLIENT_SECRET, more).await.status(), 400, "{more}");
    }
    let good = basic(MACHINE_CLIENT_SECRET).await;
    assert_eq!((good.status(), good.header("cache-control")), (200, Some("no-store")));
    let bad = basic("guessed").await;
    assert_eq!(bad.status(), 401);
    assert!(bad.header("www-authenticate").unwrap().starts_with("Basic"));
    let (status, answer) = token(&user, &[grant, ("client_id", MACHINE_CLIENT_ID)]).await;
    assert_eq!((status, text(&answer, "error")), (401, "invalid_client"));
    let (status, answer) = token(&user, &[grant, ("client_id", INTERACTIVE_CLIENT_ID)]).await;
    assert_eq!((status, text(&answer, "error")), (400, "unauthorized_client"));
    let twice = [grant, grant, ("client_id", MACHINE_CLIENT_ID)];
    assert_eq!(token(&user, &twice).await.1["error"], "invalid_request");
    let json = json!({ "grant_type": "client_credentials", "client_id": MACHINE_CLIENT_ID, "client_secret": MACHINE_CLIENT_SECRET });
    let request = Request::new(Method::Post, at.clone()).with_body("application/json", json.to_string());
    assert_eq!(user.send(request).await.status(), 200);
    let request = Request::new(Method::Post, at).with_body("text/xml", "<grant/>");
    assert_eq!(user.send(request).await.status(), 400);
}

#[tokio::test]
async fn machine_exchanges_the_token_of_a_user() {
    let user = user_with_automatic_login().await;
    let of_user = granted(&user).await;
    let subject = text(&of_user, "access_token");
    let machine = [("client_id", MACHINE_CLIENT_ID), ("client_secret", MACHINE_CLIENT_SECRET)];
    let bearer = [&machine[..], &[("grant_type", JWT_BEARER), ("assertion", subject)]].concat();
    let (status, answer) = token(&user, &bearer).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(claims(text(&answer, "access_token"))["sub"], "auth0|emulator-1");

    let exchange = |token: &'static str, kind: &'static str, scope: &'static str| {
        let subject = if token.is_empty() { subject } else { token };
        let form =
            [("grant_type", EXCHANGE), ("subject_token", subject), ("subject_token_type", kind), ("scope", scope)];
        [&machine[..], &form].concat()
    };
    let (status, answer) = token(&user, &exchange("", ACCESS_TOKEN, "openid")).await;
    assert_eq!((status, text(&answer, "issued_token_type"), text(&answer, "scope")), (200, ACCESS_TOKEN, "openid"));
    assert_eq!(claims(text(&answer, "access_token"))["act"]["sub"], MACHINE_CLIENT_ID);
    for (form, error) in [
        (exchange("", ACCESS_TOKEN, "admin"), "invalid_scope"),
        (exchange("", "urn:other", "openid"), "invalid_request"),
        (exchange("a.b.c", ACCESS_TOKEN, "openid"), "invalid_request"),
        ([&machine[..], &[("grant_type", JWT_BEARER), ("assertion", "a.b.c")]].concat(), "invalid_grant"),
        ([&machine[..], &[("grant_type", JWT_BEARER)]].concat(), "invalid_request"),
    ] {
        let (status, answer) = token(&user, &form).await;
        assert_eq!((status, text(&answer, "error")), (400, error), "{form:?}");
    }
}

#[tokio::test]
async fn revoked_token_is_invalid() {
    let user = user_with_automatic_login().await;
    let revoke = async |token: &str| {
        let form = [("client_id", INTERACTIVE_CLIENT_ID), ("token", token)];
        user.post("/oauth/revoke", &form).await.0
    };
    let granted = granted(&user).await;
    assert_eq!(revoke("unknown").await, 200);
    let other = [("client_id", DEVICE_CLIENT_ID), ("token", text(&granted, "access_token"))];
    assert_eq!(user.post("/oauth/revoke", &other).await.0, 200);
    assert_eq!(api_status(&user, text(&granted, "access_token")).await, 200, "another client may not");
    assert_eq!(revoke(text(&granted, "access_token")).await, 200);
    assert_eq!(api_status(&user, text(&granted, "access_token")).await, 401);
    assert_eq!(revoke(text(&granted, "refresh_token")).await, 200);
    assert_eq!(refresh(&user, text(&granted, "refresh_token")).await.1["error"], "invalid_grant");
}

#[tokio::test]
async fn device_that_polls_too_often_gets_slow_down() {
    let clock = clock();
    let emulator = Emulator::builder().with_clock(clock.clone()).start().await.unwrap();
    let user = User::anonymous_at(emulator);
    let device = user.start_login().await;
    let code = text(&device, "device_code");
    let ask = async |seconds: u64| {
        clock.advance(Duration::from_secs(seconds));
        user.redeem(code).await.1["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(ask(0).await, "authorization_pending");
    assert_eq!(ask(4).await, "slow_down");
    assert_eq!(ask(6).await, "slow_down", "the interval is ten seconds now");
    assert_eq!(ask(15).await, "authorization_pending");
    assert_eq!(ask(600).await, "expired_token");
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
    let session = |work: &dyn Fn(User) -> std::pin::Pin<Box<dyn Future<Output = Value>>>| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let builder = Emulator::builder().with_config(config.clone()).with_data_folder(folder.path());
        runtime.block_on(async { work(User::anonymous_at(builder.with_port(port).start().await.unwrap())).await })
    };
    let before = session(&|user| {
        Box::pin(async move {
            let granted = granted(&user).await;
            let revoked = self::granted(&user).await;
            let form = [("client_id", INTERACTIVE_CLIENT_ID), ("token", text(&revoked, "access_token"))];
            assert_eq!(user.post("/oauth/revoke", &form).await.0, 200);
            json!([granted, revoked])
        })
    });
    let after = session(&move |user| {
        let before = before.clone();
        Box::pin(async move {
            assert_eq!(api_status(&user, text(&before[0], "access_token")).await, 200);
            assert_eq!(api_status(&user, text(&before[1], "access_token")).await, 401);
            refresh(&user, text(&before[0], "refresh_token")).await.1
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
    let user = user_with(&config(AUDIENCE, issuer)).await;
    let known = granted(&provider).await;
    let known = text(&known, "access_token");
    let url = user.emulator.api_root().join("/api/v1/me").unwrap();
    let me = user.send(Request::get(url).with_header("authorization", format!("Bearer {known}"))).await;
    let (status, me) = read(me).await;
    let me: Value = serde_json::from_slice(&me).unwrap();
    assert_eq!((status, &me["user"]["id"]), (200, &json!("auth0|second-1")), "as the mapping says");

    let machine = [("client_id", MACHINE_CLIENT_ID), ("client_secret", MACHINE_CLIENT_SECRET)];
    let (_, machine) = token(&provider, &[&machine[..], &[("grant_type", "client_credentials")]].concat()).await;
    assert_eq!(api_status(&user, text(&machine, "access_token")).await, 403, "the subject is not mapped");
    assert_eq!(api_status(&user, &format!("{known}x")).await, 401);
    assert_eq!(api_status(&user_with(&config("https://other", issuer)).await, known).await, 401);
    assert_eq!(
        api_status(&user_with(&config(AUDIENCE, &issuer.replace("127.0.0.1", "localhost"))).await, known).await,
        401
    );
    assert_eq!(api_status(&user_with("").await, known).await, 401);
    let wrong: Config =
        toml::from_str("[external_issuer]\nissuer = \"x\"\naudience = \"y\"\nsubjects = { a = \"b\" }").unwrap();
    let error = Emulator::builder().with_config(wrong).start().await.unwrap_err().to_string();
    assert!(error.contains("`a` is mapped to the unknown user `b`"), "{error}");
}
