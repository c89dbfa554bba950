//! A login at a provider that is not the platform's own, and the platform that trusts it.

use serde_json::Value;
use url::Url;

use crate::command::Lab;
use crate::emulator::Running;
use crate::login::Home;
use crate::provider::{AUDIENCE, Provider};
use crate::user::{NAME, User};

#[test]
fn user_of_a_trusted_provider_is_accepted() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let lab = Lab::new();
    let config = lab.path("config.toml");
    let trust = format!(
        "[external_issuer]\naudience = \"{AUDIENCE}\"\n[external_issuer.subjects]\n{NAME} = \"auth0|emulator-2\""
    );
    std::fs::write(&config, trust).unwrap();
    let running = Running::start(&lab, &["--issuer", &provider.issuer, "--config", config.to_str().unwrap()]);

    let endpoints = provider.endpoints();
    let home = Home::new(&lab, &running).with_variables([
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", endpoints.authorization.unwrap().to_string()),
        ("AIGNOSTICS_TOKEN_URL", endpoints.token.to_string()),
        ("AIGNOSTICS_JWS_JSON_URL", endpoints.jwks.unwrap().to_string()),
        ("AIGNOSTICS_AUDIENCE", AUDIENCE.to_owned()),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", "native".to_owned()),
        ("AIGNOSTICS_REDIRECT_URI", "http://127.0.0.1:0/call-back".to_owned()),
        ("AIGNOSTICS_SCOPE", "openid,runs:read".to_owned()),
    ]);
    let login = home.start(&["user", "login", "--no-browser"]);
    let url: Url = login.line.trim().strip_prefix("to log in, open ").unwrap().parse().unwrap();
    user.browser.open(&url);
    user.browser.sign_in();
    user.browser.allow();
    assert_eq!(login.succeeded(), "logged in as Ben Emulator of org_emulator\n");
    let who = home.run(&["user", "whoami"]);
    who.assert_code(0);
    let who: Value = serde_json::from_str(&who.stdout).unwrap();
    assert_eq!(who["token"]["issuer"].as_str(), Some(provider.issuer.as_str()));
    assert_eq!((&who["user"]["id"], &who["role"]), (&"auth0|emulator-2".into(), &"member".into()));
}
