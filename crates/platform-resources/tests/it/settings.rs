//! Settings from variables and files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use platform_resources::{SettingSource, Settings, SettingsBuilder, SettingsError};
use tempfile::TempDir;

fn builder_with(variables: &[(&str, &str)]) -> SettingsBuilder {
    let full_names = variables.iter().map(|(name, value)| (format!("AIGNOSTICS_{name}"), *value));
    Settings::builder().with_home("/home/user").with_variables(full_names)
}

fn problem_names(error: &SettingsError) -> Vec<&str> {
    error.problems().iter().map(|problem| problem.name.trim_start_matches("AIGNOSTICS_")).collect()
}

#[test]
fn production_is_the_default_platform() {
    let settings = builder_with(&[]).build().unwrap();
    assert_eq!(settings.environment, Some("production"));
    assert_eq!(settings.api_root.as_str(), "https://platform.aignostics.com/");
    assert_eq!(settings.issuer, "https://aignostics-platform.eu.auth0.com/");
    assert_eq!(settings.token_url.as_str(), "https://aignostics-platform.eu.auth0.com/oauth/token");
    assert_eq!((settings.audience.as_str(), settings.client_id_device), ("https://aignostics-platform-samia", None));
    assert_eq!(
        (settings.scopes, settings.redirect_url.as_str()),
        (vec!["offline_access".to_owned()], "http://localhost:8989/")
    );
    assert_eq!(settings.cache_folder, Path::new("/home/user/.aignostics/cache"));
    assert_eq!(settings.state_folder, Path::new("/home/user/.local/state/aignostics"));
    assert_eq!((settings.run.timeout, settings.run.attempts), (Duration::from_secs(30), None));
    assert_eq!(
        (settings.run.cache_lifetime, settings.me.cache_lifetime),
        (Duration::from_secs(15), Duration::from_secs(300))
    );
    assert_eq!(settings.bucket.download_lifetime, Duration::from_secs(7 * 24 * 3600));
}

#[test]
fn state_folder_defaults_to_xdg_state_home() {
    let state_folder_with_xdg = |value: &'static str| {
        builder_with(&[]).with_variables([("XDG_STATE_HOME", value)]).build().unwrap().state_folder
    };
    assert_eq!(state_folder_with_xdg("/state"), Path::new("/state/aignostics"));
    assert_eq!(
        state_folder_with_xdg("relative"),
        Path::new("/home/user/.local/state/aignostics"),
        "relative paths are ignored"
    );
    assert_eq!(builder_with(&[("STATE_DIR", "/mine")]).build().unwrap().state_folder, Path::new("/mine"));
}

#[test]
fn api_root_selects_the_platform_defaults() {
    for (root, name) in [
        ("https://platform-staging.aignostics.com", "staging"),
        ("https://platform-dev.aignostics.ai/", "dev"),
        ("https://platform-test.aignostics.ai", "test"),
    ] {
        let settings =
            builder_with(&[("API_ROOT", root), ("ORGANIZATION_ID", "org"), ("SCOPE", "offline_access,openid")]);
        let settings = settings.build().unwrap();
        assert_eq!((settings.environment, settings.organization_id.as_deref()), (Some(name), Some("org")));
        assert_eq!(settings.scopes, ["offline_access", "openid"]);
        assert!(settings.issuer.contains("auth0.com/") && !settings.audience.contains("aignostics-platform-samia"));
    }
}

#[test]
fn unknown_platform_needs_a_complete_description() {
    let error = builder_with(&[("API_ROOT", "https://platform.example")]).build().unwrap_err();
    let message = error.to_string();
    assert!(message.contains("platform.example") && message.contains("AIGNOSTICS_TOKEN_URL"), "{message}");
    let emulator = builder_with(&[
        ("API_ROOT", "http://127.0.0.1:8000"),
        ("AUTHORIZATION_BASE_URL", "http://127.0.0.1:8001/authorize?x=1"),
        ("TOKEN_URL", "http://127.0.0.1:8001/oauth/token"),
        ("DEVICE_URL", "http://127.0.0.1:8001/oauth/device/code"),
        ("JWS_JSON_URL", "http://127.0.0.1:8001/.well-known/jwks.json"),
        ("AUDIENCE", "https://emulator"),
        ("CLIENT_ID_INTERACTIVE", "client"),
    ]);
    let settings = emulator.build().unwrap();
    assert_eq!((settings.environment, settings.issuer.as_str()), (None, "http://127.0.0.1:8001/"));
    assert!(settings.is_plain_loopback());
}

#[test]
fn invalid_settings_are_all_reported_without_their_values() {
    let error = builder_with(&[
        ("TOKEN_URL", "http://canary.example/token"),
        ("STATUS_PAGE_URL", "https://user:canary@status.example/"),
        ("REFRESH_TOKEN", "canary"),
        ("RUN_TIMEOUT", "canary"),
        ("ME_TIMEOUT", "300.1"),
        ("AUTH_RETRY_ATTEMPTS", "11"),
        ("APPLICATION_RETRY_WAIT_MIN", "61"),
        ("APPLICATION_RETRY_WAIT_MAX", "60"),
        ("ME_CACHE_TTL", "-1"),
        ("HEALTH_TIMEOUT", "nan"),
        ("BUCKET_UPLOAD_SIGNED_URL_EXPIRATION_SECONDS", "59"),
    ])
    .build()
    .unwrap_err();
    assert_eq!(
        problem_names(&error),
        [
            "AUTH_RETRY_ATTEMPTS",
            "ME_TIMEOUT",
            "ME_CACHE_TTL",
            "APPLICATION_RETRY_WAIT_MAX",
            "RUN_TIMEOUT",
            "TOKEN_URL",
            "REFRESH_TOKEN",
            "STATUS_PAGE_URL",
            "HEALTH_TIMEOUT",
            "BUCKET_UPLOAD_SIGNED_URL_EXPIRATION_SECONDS",
        ]
    );
    let message = format!("{error} {error:?}");
    assert!(message.contains("(from the environment)") && message.contains("0.1 to 300 seconds"), "{message}");
    assert!(!message.contains("canary"), "{message}");
}

#[test]
fn settings_of_a_group_override_general_ones() {
    let settings = builder_with(&[
        ("RUN_RETRY_ATTEMPTS", "0"),
        ("ME_RETRY_ATTEMPTS", "10"),
        ("RUN_TIMEOUT", "0.5"),
        ("REQUEST_TIMEOUT_SECONDS", "7"),
        ("AUTHORIZATION_BACKOFF_SECONDS", "3"),
        ("ME_RETRY_WAIT_MIN", "1"),
        ("RUN_CACHE_TTL", "0"),
        ("HEALTH_TIMEOUT", ""),
    ]);
    let settings = settings.build().unwrap();
    assert_eq!((settings.run.attempts, settings.me.attempts), (Some(1), Some(10)));
    assert_eq!((settings.run.timeout, settings.me.timeout), (Duration::from_millis(500), Duration::from_secs(7)));
    assert_eq!(
        (settings.run.wait_min, settings.me.wait_min),
        (Some(Duration::from_secs(3)), Some(Duration::from_secs(1)))
    );
    assert_eq!((settings.run.cache_lifetime, settings.health_timeout), (Duration::ZERO, Duration::from_secs(30)));
}

#[test]
fn debug_output_and_description_contain_no_secret() {
    let settings =
        builder_with(&[("REFRESH_TOKEN", "canary-canary"), ("CLIENT_ID_DEVICE", "canary-device")]).build().unwrap();
    assert_eq!(settings.refresh_token().unwrap().expose(), "canary-canary");
    assert!(!format!("{settings:?} {}", settings.describe()).contains("canary"));
    let description = settings.describe();
    assert_eq!((&description["environment"], &description["refresh_token"]), (&"production".into(), &"***".into()));
    assert_eq!(description["operations"]["run"]["cache_lifetime"], 15.0);
}

#[test]
fn settings_at_a_root_ignore_environment_and_files() {
    let production = Settings::at(&"https://platform.aignostics.com".parse().unwrap()).unwrap();
    assert_eq!((production.environment, production.refresh_token()), (Some("production"), None));
    let other = Settings::at(&"http://127.0.0.1:9000".parse().unwrap()).unwrap();
    assert_eq!((other.environment, other.token_url.as_str()), (None, "http://127.0.0.1:9000/oauth/token"));
    assert!(Settings::at(&"http://platform.test".parse().unwrap()).is_err());
}

#[test]
fn environment_overrides_working_folder_and_user_file() {
    let (home, working) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir(home.path().join(".aignostics")).unwrap();
    let user_settings = "AIGNOSTICS_RUN_TIMEOUT=1\nAIGNOSTICS_ME_TIMEOUT=1\nAIGNOSTICS_AUTH_TIMEOUT=1\nAIGNOSTICS_ORGANIZATION_ID=org\n";
    fs::write(home.path().join(".aignostics/.env"), user_settings).unwrap();
    fs::write(working.path().join(".env"), "AIGNOSTICS_RUN_TIMEOUT=2\n# AIGNOSTICS_X\nAIGNOSTICS_ME_TIMEOUT=2\n")
        .unwrap();
    let builder = builder_with(&[("RUN_TIMEOUT", "3")]).with_home(home.path()).with_working_folder(working.path());
    let settings = builder.clone().build().unwrap();
    let seconds = [settings.run, settings.me, settings.auth].map(|group| group.timeout.as_secs());
    assert_eq!((seconds, settings.organization_id.as_deref()), ([3, 2, 1], Some("org")));

    let env_file = working.path().join("other.env");
    fs::write(&env_file, "AIGNOSTICS_AUTH_TIMEOUT=4").unwrap();
    let settings =
        builder.clone().with_variables([("AIGNOSTICS_ENV_FILE", env_file.to_str().unwrap())]).build().unwrap();
    assert_eq!(
        (settings.auth.timeout.as_secs(), settings.organization_id),
        (4, None),
        "the file replaces the default one"
    );

    let missing_file_error =
        builder.clone().with_variables([("AIGNOSTICS_ENV_FILE", "/nowhere/env")]).build().unwrap_err();
    assert!(missing_file_error.to_string().contains("/nowhere/env cannot be read"), "{missing_file_error}");
    fs::write(&env_file, "AIGNOSTICS_REFRESH_TOKEN='canary").unwrap();
    let malformed_file_error =
        builder.with_variables([("AIGNOSTICS_ENV_FILE", env_file.to_str().unwrap())]).build().unwrap_err();
    let message = format!("{malformed_file_error} {malformed_file_error:?}");
    assert!(message.contains("other.env") && !message.contains("canary"), "{message}");
}

#[test]
fn working_folder_file_cannot_redirect_tokens_or_logins() {
    let working = TempDir::new().unwrap();
    let names = [
        "API_ROOT",
        "AUDIENCE",
        "AUTH_TIMEOUT",
        "AUTHORIZATION_BASE_URL",
        "BUCKET_ENDPOINT",
        "CACHE_DIR",
        "CLIENT_ID_DEVICE",
        "CLIENT_ID_INTERACTIVE",
        "DEVICE_URL",
        "ENV_FILE",
        "JWS_JSON_URL",
        "ORGANIZATION_ID",
        "REDIRECT_URI",
        "REFRESH_TOKEN",
        "REQUEST_TIMEOUT_SECONDS",
        "SCOPE",
        "STATE_DIR",
        "STATUS_PAGE_URL",
        "TOKEN_URL",
    ];
    let lines: String =
        names.iter().map(|name| format!("AIGNOSTICS_{name}=https://evil.example/\n")).collect::<Vec<_>>().concat();
    fs::write(working.path().join(".env"), format!("{lines}AIGNOSTICS_RUN_TIMEOUT=9\n")).unwrap();
    let settings = builder_with(&[]).with_working_folder(working.path()).build().unwrap();
    assert!(!format!("{settings:?}").contains("evil.example"), "{settings:?}");
    assert_eq!(settings.refresh_token(), None);
    assert_eq!(settings.run.timeout.as_secs(), 9, "other settings are accepted");
    assert_eq!(settings.ignored.len(), names.len());
    let trusted = format!("{lines}AIGNOSTICS_ENV_FILE=/nowhere");
    fs::write(working.path().join(".env"), trusted).unwrap();
    let error =
        builder_with(&[]).with_working_folder(working.path()).with_trusted_working_folder().build().unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
    fs::write(working.path().join(".env"), "AIGNOSTICS_TOKEN_URL=https://issuer.example/").unwrap();
    let settings = builder_with(&[]).with_working_folder(working.path()).with_trusted_working_folder().build().unwrap();
    assert_eq!(settings.token_url.as_str(), "https://issuer.example/");
}

#[test]
fn source_of_each_setting_is_known() {
    let working = TempDir::new().unwrap();
    let file = working.path().join(".env");
    let text =
        "AIGNOSTICS_RUN_TIMEOUT=9\nAIGNOSTICS_ME_TIMEOUT=9\nAIGNOSTICS_TOKEN_URL=https://evil.example/\nOTHER=1\n";
    fs::write(&file, text).unwrap();
    let variables = [("RUN_TIMEOUT", "7"), ("AUDIENCE", ""), ("UNHEARD_OF", "1")];
    let settings = builder_with(&variables).with_working_folder(working.path()).build().unwrap();
    let sources: Vec<_> = settings.sources.into_iter().collect();
    let expected = [
        ("AIGNOSTICS_ME_TIMEOUT", SettingSource::File(file)),
        ("AIGNOSTICS_RUN_TIMEOUT", SettingSource::Environment),
        ("AIGNOSTICS_UNHEARD_OF", SettingSource::Environment),
    ];
    assert_eq!(sources, expected.map(|(name, source)| (name.to_owned(), source)), "ignored settings have no source");
}

#[test]
fn problem_contains_the_source_of_the_setting() {
    let working = TempDir::new().unwrap();
    let file = working.path().join(".env");
    fs::write(&file, "AIGNOSTICS_RUN_TIMEOUT=0").unwrap();
    let error = builder_with(&[]).with_working_folder(working.path()).build().unwrap_err();
    assert_eq!(error.problems()[0].source, SettingSource::File(file));
    let error_without_home = Settings::builder().build().unwrap_err();
    assert_eq!(problem_names(&error_without_home), ["CACHE_DIR"]);
}

#[test]
fn unrelated_env_file_in_the_working_folder_is_ignored() {
    let working = TempDir::new().unwrap();
    let path = working.path().join(".env");
    fs::create_dir(&path).unwrap();
    builder_with(&[]).with_working_folder(working.path()).build().unwrap();
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "FOO=bar baz qux\nAIGNOSTICS_RUN_TIMEOUT=5\n").unwrap();
    let settings = builder_with(&[]).with_working_folder(working.path()).build().unwrap();
    assert_eq!(settings.run.timeout.as_secs(), 5);
}

#[test]
fn highest_level_with_a_credential_decides() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join(".aignostics")).unwrap();
    fs::write(home.path().join(".aignostics/.env"), "AIGNOSTICS_ACCESS_TOKEN=from-the-file\n").unwrap();
    fs::write(home.path().join(".aignostics/profiles.toml"), "[lab]\ntoken_command = \"profile\"\n").unwrap();
    let builder_with = |variables: &[(&'static str, &'static str)]| {
        Settings::builder().with_home(home.path()).with_variables(variables.iter().copied())
    };
    let credential_of = |builder: SettingsBuilder| {
        let credential = builder.build().unwrap().credential;
        (credential.source.kind(), credential.name.unwrap_or_default())
    };
    assert_eq!(credential_of(builder_with(&[])), ("access token", "AIGNOSTICS_ACCESS_TOKEN".to_owned()));
    assert_eq!(
        credential_of(builder_with(&[("AIGNOSTICS_PROFILE", "lab")])),
        ("token command", "token_command".to_owned())
    );
    let profile_and_token = [("AIGNOSTICS_PROFILE", "lab"), ("AIGNOSTICS_REFRESH_TOKEN", "0123456789")];
    assert_eq!(
        credential_of(builder_with(&profile_and_token)),
        ("refresh token", "AIGNOSTICS_REFRESH_TOKEN".to_owned())
    );
    assert_eq!(
        credential_of(builder_with(&profile_and_token).with_token_file("x")),
        ("token file", "--token-file".to_owned())
    );
    assert_eq!(credential_of(Settings::builder().with_home("/none")), ("stored login", String::new()));
    let error =
        builder_with(&[("AIGNOSTICS_ACCESS_TOKEN", "canary"), ("AIGNOSTICS_TOKEN_COMMAND", "b")]).build().unwrap_err();
    let message = format!("{error} {error:?}");
    assert!(message.contains("remove either AIGNOSTICS_ACCESS_TOKEN or AIGNOSTICS_TOKEN_COMMAND"), "{message}");
    assert!(!message.contains("canary"), "{message}");
}

#[test]
fn client_authentication_is_inferred_from_its_files() {
    use platform_resources::{ClientAuthentication, CredentialSource};

    let id = ("CLIENT_ID", "machine");
    let authentication =
        |variables: &[(&'static str, &'static str)]| match builder_with(&[&[id], variables].concat()).build() {
            Ok(settings) => match settings.credential.source {
                CredentialSource::Client(client) => Ok(client.authentication),
                other => panic!("{other:?}"),
            },
            Err(error) => Err(error.to_string()),
        };
    let (secret, key, certificate) =
        (("CLIENT_SECRET_FILE", "s"), ("CLIENT_KEY_FILE", "k"), ("CLIENT_CERTIFICATE_FILE", "c"));
    assert_eq!(authentication(&[secret, key]).unwrap(), ClientAuthentication::Secret("s".into()));
    assert_eq!(
        authentication(&[key]).unwrap(),
        ClientAuthentication::PrivateKeyJwt { key: "k".into(), certificate: None }
    );
    let tls = |key: Option<&str>| ClientAuthentication::Tls { certificate: "c".into(), key: key.map(Into::into) };
    assert_eq!(authentication(&[certificate]).unwrap(), tls(None));
    assert_eq!(authentication(&[certificate, key]).unwrap(), tls(Some("k")));
    let assertion = ClientAuthentication::PrivateKeyJwt { key: "k".into(), certificate: Some("c".into()) };
    assert_eq!(authentication(&[certificate, key, ("CLIENT_AUTH", "private_key_jwt")]).unwrap(), assertion);
    assert!(
        authentication(&[("CLIENT_AUTH", "tls")])
            .unwrap_err()
            .contains("AIGNOSTICS_CLIENT_CERTIFICATE_FILE must be set")
    );
    assert!(authentication(&[secret, ("CLIENT_AUTH", "x")]).unwrap_err().contains("secret, private_key_jwt or tls"));
    assert!(authentication(&[]).unwrap_err().contains("AIGNOSTICS_CLIENT_KEY_FILE must be set"));
    let error = builder_with(&[secret]).build().unwrap_err().to_string();
    assert!(error.contains("AIGNOSTICS_CLIENT_ID must be set"), "{error}");
}

#[test]
fn invalid_workload_identity_is_an_error() {
    for (value, message) in [
        ("azure", "must be kubernetes, github, gitlab, env:NAME, file:PATH or url:URL"),
        (
            "kubernetes",
            "AIGNOSTICS_WORKLOAD_IDENTITY_FILE must be set in the environment to the path of the projected token",
        ),
        ("url:http://platform.example/token", "must have an https URL"),
        ("url:https://user@platform.example/", "must have an https URL"),
        ("env:", "must be kubernetes"),
    ] {
        let error = builder_with(&[("WORKLOAD_IDENTITY", value)]).build().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    for value in ["github", "gitlab", "env:X", "file:/x", "url:http://127.0.0.1:1/", "url:https://platform.example/"] {
        let settings = builder_with(&[("WORKLOAD_IDENTITY", value), ("CLIENT_ID", "exchange")]).build().unwrap();
        assert_eq!(settings.credential.source.kind(), "workload identity");
    }
    let error = builder_with(&[
        ("WORKLOAD_IDENTITY", "github"),
        ("WORKLOAD_IDENTITY_GRANT", "x"),
        ("WORKLOAD_IDENTITY_SUBJECT_TOKEN_TYPE", "y"),
    ]);
    assert_eq!(
        problem_names(&error.build().unwrap_err()),
        ["WORKLOAD_IDENTITY_GRANT", "WORKLOAD_IDENTITY_SUBJECT_TOKEN_TYPE"]
    );
}
