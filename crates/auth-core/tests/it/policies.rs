//! The policies that add credentials to requests.

use auth_core::{
    AccessToken, Authority, BasicPolicy, BearerPolicy, Destination, KeyPolicy, Reaction, Secret, Stage, TokenRequest,
};
use url::Url;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn destination(text: &str) -> Destination {
    Destination::new(Authority::of(&url(text)))
}

#[test]
fn credentials_are_not_sent_to_another_authority() {
    let api = "https://api.example/v1";
    let bearer = BearerPolicy::new(destination(api));
    let key = KeyPolicy::new(destination(api), "x-api-key", Secret::new("k"));
    let basic = BasicPolicy::new(destination(api), "user", &Secret::new("p")).unwrap();
    for other in [
        "https://api.example:8443/v1",
        "http://api.example/v1",
        "http://api.example:443/v1",
        "https://evil.example/v1",
        "https://api.example.evil/",
        "https://api.example@evil.example/",
        "https://api.example.:443/",
    ] {
        let other = url(other);
        for error in [
            bearer.admit(&other).unwrap_err(),
            key.authorize(&other).unwrap_err(),
            basic.authorize(&other).unwrap_err(),
        ] {
            assert!(error.is_wrong_authority(), "{other}: {error}");
        }
    }
    for same in [api, "https://API.example:443/other?x=y", "https://user@api.example/"] {
        bearer.admit(&url(same)).unwrap();
        assert_eq!(key.authorize(&url(same)).unwrap(), ("x-api-key", &Secret::new("k")));
        assert_eq!(basic.authorize(&url(same)).unwrap().expose(), "Basic dXNlcjpw");
    }
}

#[test]
fn plain_http_is_allowed_only_to_loopback_and_on_request() {
    for (text, allowed) in [
        ("http://127.0.0.1:1/", true),
        ("http://127.9.9.9/", true),
        ("http://localhost/", true),
        ("http://[::1]:8/", true),
        ("http://api.example/", false),
        ("http://localhost.example/", false),
        ("http://10.0.0.1/", false),
        ("ftp://127.0.0.1/", false),
    ] {
        let strict_policy = BearerPolicy::new(destination(text));
        assert!(strict_policy.admit(&url(text)).unwrap_err().is_insecure(), "{text}");
        let loopback_policy = BearerPolicy::new(destination(text).with_plain_loopback());
        assert_eq!(loopback_policy.admit(&url(text)).is_ok(), allowed, "{text}");
    }
}

#[test]
fn only_the_first_401_rejects_the_token() {
    let policy = BearerPolicy::new(destination("https://api.example"));
    let request = TokenRequest::new().with_subject("user");
    for (status, stage, expected) in [
        (401, Stage::First { replayable: true }, Reaction::Resend(request.clone())),
        (401, Stage::First { replayable: false }, Reaction::Reject),
        (401, Stage::Resent, Reaction::Deliver),
        (200, Stage::First { replayable: true }, Reaction::Deliver),
        (400, Stage::First { replayable: true }, Reaction::Deliver),
        (403, Stage::First { replayable: true }, Reaction::Deliver),
        (407, Stage::First { replayable: true }, Reaction::Deliver),
        (500, Stage::First { replayable: true }, Reaction::Deliver),
    ] {
        assert_eq!(policy.react(status, &[], &request, stage), expected, "{status} {stage:?}");
    }
}

#[test]
fn authorization_scheme_is_always_bearer() {
    let policy = BearerPolicy::new(destination("https://api.example"));
    let token = AccessToken::try_from("bearer canary").unwrap();
    assert_eq!(policy.header(&token).unwrap().expose(), "Bearer canary");
    for token_type in ["bearer", "BEARER", " Bearer\r\n"] {
        assert_eq!(policy.header(&token.clone().with_token_type(token_type)).unwrap().expose(), "Bearer canary");
    }
    for (other, displayed_type) in [
        ("DPoP", "'DPoP'"),
        ("N_A", "'N_A'"),
        ("", "''"),
        ("Basic x\r\nhost: evil", "'Basicxhost:evil'"),
        ("Bearer canary", "'Bearer***'"),
        ("canary", "'***'"),
    ] {
        let error = policy.header(&token.clone().with_token_type(other)).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            error.is_unsupported_type() && text.contains(displayed_type) && !text.contains("canary"),
            "{other:?}: {text}"
        );
    }
    let long = policy.header(&token.with_token_type("x".repeat(10_000))).unwrap_err();
    assert!(long.to_string().len() < 200, "{long}");
}

#[test]
fn user_name_with_a_colon_or_a_control_character_is_an_error() {
    for (user, password) in [("a:b", "canary"), ("a\n", "canary"), ("a", "canary\r\nx: y")] {
        let error = BasicPolicy::new(destination("https://api.example"), user, &Secret::new(password)).unwrap_err();
        assert!(error.is_malformed() && !error.to_string().contains("canary"), "{user:?}: {error}");
    }
}
