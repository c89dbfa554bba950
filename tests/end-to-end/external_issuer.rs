//! Users and machines that log in with an identity provider other than the platform's own, which the platform trusts.

use serde_json::Value;
use url::Url;

#[cfg(target_os = "linux")]
use crate::authority::Authority;
use crate::command::Sandbox;
use crate::emulator::RunningEmulator;
use crate::login::UserHome;
#[cfg(target_os = "linux")]
use crate::machine::Machine;
use crate::provider::{AUDIENCE, Provider};
#[cfg(target_os = "linux")]
use crate::shell::Shell;
use crate::user::{NAME, User};

#[test]
fn user_of_a_trusted_provider_is_accepted() {
    let Some(provider) = Provider::start() else { return };
    let Some(user) = User::start() else { return };
    let sandbox = Sandbox::new();
    let config = sandbox.path("config.toml");
    let trust = format!(
        "[external_issuer]\naudience = \"{AUDIENCE}\"\n[external_issuer.subjects]\n{NAME} = \"auth0|emulator-2\""
    );
    std::fs::write(&config, trust).unwrap();
    let running =
        RunningEmulator::start(&sandbox, &["--issuer", &provider.issuer, "--config", config.to_str().unwrap()]);

    let endpoints = provider.endpoints();
    let home = UserHome::new(&sandbox, &running).with_variables([
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", endpoints.authorization.unwrap().to_string()),
        ("AIGNOSTICS_TOKEN_URL", endpoints.token.to_string()),
        ("AIGNOSTICS_JWS_JSON_URL", endpoints.jwks.unwrap().to_string()),
        ("AIGNOSTICS_AUDIENCE", AUDIENCE.to_owned()),
        ("AIGNOSTICS_CLIENT_ID_INTERACTIVE", "native".to_owned()),
        ("AIGNOSTICS_REDIRECT_URI", "http://127.0.0.1:0/callback".to_owned()),
        ("AIGNOSTICS_SCOPE", "openid,runs:read".to_owned()),
    ]);
    let login = home.start(&["user", "login", "--no-browser"]);
    let url: Url = login.line.trim().strip_prefix("to log in, open ").unwrap().parse().unwrap();
    user.browser.open(&url);
    user.browser.sign_in();
    user.browser.allow();
    assert_eq!(login.succeeded(), "logged in as Ben Emulator of org_emulator\n");
    let whoami = home.run(&["user", "whoami"]);
    whoami.assert_code(0);
    let whoami: Value = serde_json::from_str(&whoami.stdout).unwrap();
    assert_eq!(whoami["token"]["issuer"].as_str(), Some(provider.issuer.as_str()));
    assert_eq!((&whoami["user"]["id"], &whoami["role"]), (&"auth0|emulator-2".into(), &"member".into()));
}

/// Returns a machine with an emulator that trusts the provider, and the environment variables that describe the
/// provider.
#[cfg(target_os = "linux")]
fn trusted_machine(
    provider: &Provider,
    sandbox: &Sandbox,
    client_ids: &[&str],
) -> (Machine, Vec<(&'static str, String)>) {
    let subjects: Vec<_> = client_ids.iter().map(|id| format!("{id:?} = \"auth0|emulator-2\"\n")).collect();
    let subjects = subjects.concat();
    let config = sandbox.path("config.toml");
    let trust = format!("[external_issuer]\naudience = \"{AUDIENCE}\"\n[external_issuer.subjects]\n{subjects}");
    std::fs::write(&config, trust).unwrap();
    let shell = Shell::with_arguments(&["--issuer", &provider.issuer, "--config", config.to_str().unwrap()]);
    let endpoints = provider.endpoints();
    let variables = vec![
        ("AIGNOSTICS_AUTHORIZATION_BASE_URL", endpoints.authorization.unwrap().to_string()),
        ("AIGNOSTICS_TOKEN_URL", endpoints.token.to_string()),
        ("AIGNOSTICS_JWS_JSON_URL", endpoints.jwks.unwrap().to_string()),
        ("AIGNOSTICS_AUDIENCE", AUDIENCE.to_owned()),
    ];
    (Machine { shell }, variables)
}

#[cfg(target_os = "linux")]
#[test]
fn machines_authenticate_with_a_secret_a_key_or_a_certificate() {
    const BASIC_CLIENT: &str = "machine: basic/1";
    let Some(provider) = Provider::start() else { return };
    let (sandbox, server_authority, client_authority) = (Sandbox::new(), Authority::new(), Authority::new());
    provider.listen_for_mutual_tls(server_authority.sign("localhost"), &client_authority.issuer.pem());
    let (machine, variables) =
        trusted_machine(&provider, &sandbox, &[BASIC_CLIENT, "machine-key", "machine-certificate"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let endpoints = runtime.block_on(auth_oauth::Endpoints::discover(&provider.http, &provider.issuer)).unwrap();
    let mutual_tls_url = endpoints.mtls.unwrap().token.unwrap().to_string();

    let secret = machine.write("secret", "odd: +/%&=~\"<\\ ?#", 0o600);
    let key = machine.write("key.pem", provider.machine_key.expose(), 0o600);
    let (certificate, certificate_key) = client_authority.sign("machine.test");
    let certificate_file = machine.write("both.pem", &format!("{certificate}{certificate_key}"), 0o600);
    let roots = server_authority.file().display().to_string();
    let cases: [(&str, Vec<(&str, &str)>); 3] = [
        (BASIC_CLIENT, vec![("AIGNOSTICS_CLIENT_SECRET_FILE", &secret)]),
        ("machine-key", vec![("AIGNOSTICS_CLIENT_KEY_FILE", &key), ("AIGNOSTICS_CLIENT_KEY_ID", "machine-1")]),
        (
            "machine-certificate",
            vec![
                ("AIGNOSTICS_CLIENT_CERTIFICATE_FILE", &certificate_file),
                ("AIGNOSTICS_TOKEN_URL", &mutual_tls_url),
                ("SSL_CERT_FILE", &roots),
            ],
        ),
    ];
    for (id, credential) in cases {
        let mut variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.push(("AIGNOSTICS_CLIENT_ID", id));
        variables.extend(credential);
        assert_eq!(machine.user_id(&variables, &[]), "auth0|emulator-2", "{id}");
    }
    assert_eq!(provider.grants("client_credentials"), 3);
}
