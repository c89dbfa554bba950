//! The settings of credentials: the precedence of levels, and redaction.

use std::fs;
use std::path::{Path, PathBuf};

use platform_resources::{
    ClientAuthentication, CredentialSource, Profiles, SettingSource, Settings, SettingsBuilder, WorkloadSource,
};
use tempfile::TempDir;

/// Returns a home folder with this content of `profiles.toml`.
fn home(profiles: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let path = Profiles::path_in(home.path());
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, profiles).unwrap();
    #[cfg(unix)]
    for path in [&path, path.parent().unwrap()] as [&Path; 2] {
        use std::os::unix::fs::PermissionsExt;
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    home
}

fn builder_with(home: &TempDir, variables: &[(&str, &str)]) -> SettingsBuilder {
    let full_names = variables.iter().map(|(name, value)| (format!("AIGNOSTICS_{name}"), *value));
    Settings::builder().with_home(home.path()).with_variables(full_names)
}

fn build_error(builder: SettingsBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn client_settings_of_two_levels_are_not_mixed() {
    let profile = "[lab]\nclient_id = \"of-profile\"\nclient_secret_file = \"/profile/secret\"\nclient_auth = \"secret\"\n\
                   client_key_id = \"of-profile\"\nclient_assertion_audience = \"token-endpoint\"\n";
    let home = home(profile);
    let lab = |variables: &[(&str, &str)]| builder_with(&home, variables).with_profile("lab");
    // The environment contains only some of the settings of a client.
    let message = build_error(lab(&[("CLIENT_ID", "of-environment")]));
    assert!(message.contains("AIGNOSTICS_CLIENT_KEY_FILE must be set in the environment"), "{message}");
    let message = build_error(lab(&[("CLIENT_SECRET_FILE", "/environment/secret")]));
    assert!(message.contains("AIGNOSTICS_CLIENT_ID must be set in the environment"), "{message}");
    let settings = lab(&[("CLIENT_ID", "e"), ("CLIENT_KEY_FILE", "/environment/key")]).build().unwrap();
    assert_eq!(settings.credential.level, SettingSource::Environment);
    let CredentialSource::Client(client) = settings.credential.source else { panic!("{settings:?}") };
    let key = ClientAuthentication::PrivateKeyJwt { key: "/environment/key".into(), certificate: None };
    assert_eq!((client.id.as_str(), client.authentication), ("e", key));
    assert_eq!((client.key_id, client.asserts_to_token_endpoint), (None, false));
    let settings = lab(&[]).build().unwrap();
    let CredentialSource::Client(client) = settings.credential.source else { panic!("{settings:?}") };
    assert_eq!((client.id.as_str(), client.key_id.as_deref()), ("of-profile", Some("of-profile")));
    assert!(client.asserts_to_token_endpoint);
}

#[test]
fn workload_settings_of_two_levels_are_not_mixed() {
    let profile = "[lab]\nworkload_identity_audience = \"of-profile\"\nworkload_identity_token_url = \"https://p.test/\"\n\
                   workload_identity_scope = \"of-profile\"\nworkload_identity_grant = \"jwt-bearer\"\n\
                   workload_identity_file = \"/profile/token\"\nclient_id = \"of-profile\"\n\
                   client_secret_file = \"/profile/secret\"\n";
    let home = home(profile);
    let lab = |variables: &[(&str, &str)]| builder_with(&home, variables).with_profile("lab");
    let settings = lab(&[("WORKLOAD_IDENTITY", "env:X"), ("X", "token")]).build().unwrap();
    let CredentialSource::Workload(workload) = settings.credential.source else { panic!("{settings:?}") };
    assert!(matches!(workload.source, WorkloadSource::Variable(..)));
    assert_eq!((workload.audience, workload.token_url, workload.client_id), (None, None, None));
    assert!(workload.client.is_none() && workload.scopes.is_empty());
    let message = build_error(lab(&[("WORKLOAD_IDENTITY", "kubernetes")]));
    assert!(message.contains("AIGNOSTICS_WORKLOAD_IDENTITY_FILE must be set in the environment"), "{message}");
}

#[test]
fn command_options_are_not_read_from_lower_levels() {
    let options = "token_cache = true\ntoken_command_cache_env = \"WHO\"\n";
    let home = home(&format!(
        "[options]\n{options}[command]\ntoken_command = \"x\"\n{options}[plain]\ntoken_command = \"x\"\n"
    ));
    let read = |builder: SettingsBuilder| {
        let credential = builder.build().unwrap().credential;
        (credential.token_cache, credential.cache_variables)
    };
    let who = vec!["WHO".to_owned()];
    let command_in_environment = builder_with(&home, &[("TOKEN_COMMAND", "y")]);
    assert_eq!(read(command_in_environment.clone().with_profile("options")), (false, vec![]));
    assert_eq!(read(command_in_environment.with_profile("options").with_token_cache()), (true, vec![]));
    assert_eq!(read(builder_with(&home, &[]).with_profile("command")), (true, who.clone()));
    let environment = builder_with(&home, &[("TOKEN_CACHE", "1"), ("TOKEN_COMMAND_CACHE_ENV", "WHO")]);
    assert_eq!(read(environment.clone().with_profile("plain")), (true, who.clone()));
    assert_eq!(read(environment.clone().with_token_command("z")), (true, who));
    assert_eq!(read(builder_with(&home, &[]).with_profile("options").with_token_command("z")), (false, vec![]));
}

#[test]
fn debug_shows_no_secrets() {
    let profile = "[lab]\ntoken_command = \"vault canary\"\nstatus_page_url = \"https://h.test/?canary\"\n[bad]\nrefresh_token = \"canary\"\n";
    let home = home(profile);
    let profiles = Profiles::read(&Profiles::path_in(home.path())).unwrap();
    let lab = profiles.get("lab").unwrap();
    let url = ("WORKLOAD_IDENTITY", "url:https://h.test/token?canary");
    let token_url = ("WORKLOAD_IDENTITY_TOKEN_URL", "https://h.test/token?canary");
    let builder =
        builder_with(&home, &[url, token_url, ("TOKEN_URL", "https://h.test/?canary"), ("SHARE_TOKEN", "canary")]);
    let settings = builder.clone().with_profile("lab").build().unwrap();
    let github = [
        ("AIGNOSTICS_WORKLOAD_IDENTITY", "github"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://h.test/?canary"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary"),
    ];
    let github = Settings::builder().with_home(home.path()).with_variables(github).build().unwrap();
    let command = builder_with(&home, &[("TOKEN_COMMAND", "vault canary")]).build().unwrap();
    for debug_output in [
        format!("{builder:?} {:?}", builder.clone().with_token_command("vault canary")),
        format!("{profiles:?} {lab:?}"),
        format!("{settings:?} {:?} {}", settings.credential, settings.describe()),
        format!("{github:?} {:?}", github.credential),
        format!("{command:?} {:?}", command.credential),
    ] {
        assert!(!debug_output.contains("canary"), "{debug_output}");
    }
    assert!(format!("{:?}", settings.credential).contains("https://h.test/token?***"));
}

#[test]
fn flag_platform_replaces_profile_platform() {
    let description = "api_root = \"https://p.test\"\ntoken_url = \"https://p.test/t\"\naudience = \"a\"\n\
        authorization_base_url = \"https://p.test/a\"\ndevice_url = \"https://p.test/d\"\njws_json_url = \"https://p.test/j\"\n\
        client_id_interactive = \"c\"\n";
    let home = home(&format!("[lab]\n{description}run_timeout = 7\n[prod]\nenvironment = \"production\"\n"));
    for (profile, seconds) in [("lab", 7), ("prod", 30)] {
        let builder = builder_with(&home, &[("API_ROOT", "https://platform.aignostics.com")]);
        let settings = builder.with_profile(profile).with_environment("staging").build().unwrap();
        assert_eq!(settings.environment, Some("staging"));
        assert!(settings.token_url.as_str().contains("staging") && settings.audience.contains("staging"));
        assert_eq!(settings.run.timeout.as_secs(), seconds);
        assert_eq!(settings.sources["AIGNOSTICS_API_ROOT"], SettingSource::Flag);
    }
    assert_eq!(builder_with(&home, &[]).with_profile("lab").build().unwrap().audience, "a");
    let message = build_error(builder_with(&home, &[]).with_environment("moon"));
    assert!(message.contains("AIGNOSTICS_API_ROOT (from the command line)"), "{message}");
}

#[test]
fn platform_description_on_lower_levels_is_ignored() {
    let profile = "[lab]\nenvironment = \"staging\"\nclient_id_interactive = \"of-profile\"\nrun_timeout = 7\n";
    let home = home(profile);
    let file = "AIGNOSTICS_TOKEN_URL=https://file.test/t\nAIGNOSTICS_ME_TIMEOUT=8\n";
    fs::write(home.path().join(".aignostics/.env"), file).unwrap();
    let read = |variables: &[(&str, &str)], flag: Option<&str>| {
        let builder = builder_with(&home, variables).with_profile("lab");
        let settings = flag.into_iter().fold(builder, SettingsBuilder::with_environment).build().unwrap();
        assert_eq!((settings.run.timeout.as_secs(), settings.me.timeout.as_secs()), (7, 8));
        (settings.token_url.host_str().unwrap().to_owned(), settings.client_id_interactive)
    };
    let (staging, production) = ("aignostics-platform-staging.eu.auth0.com", "aignostics-platform.eu.auth0.com");
    let of_profile = (staging.to_owned(), "of-profile".to_owned());
    assert_eq!(read(&[], None), of_profile);
    assert_eq!(read(&[], Some("staging")), of_profile, "the same platform");
    let root = "https://platform-staging.aignostics.com/";
    assert_eq!(read(&[("API_ROOT", root)], None), of_profile, "the same platform");
    let token_url = ("TOKEN_URL", "https://environment.test/t");
    assert_eq!(read(&[token_url], None).0, "environment.test", "a higher level");
    let other = read(&[token_url], Some("production"));
    assert_eq!(other.0, production);
    assert_ne!(other.1, "of-profile");
    assert_eq!(read(&[token_url], Some("staging")), of_profile, "the environment names no platform");
}

#[cfg(unix)]
#[test]
fn settings_file_that_others_can_change_is_rejected() {
    use std::os::unix::fs::PermissionsExt;

    let home = home("");
    let (folder, file) = (home.path().join(".aignostics"), home.path().join(".aignostics/.env"));
    fs::write(&file, "AIGNOSTICS_RUN_TIMEOUT=7\n").unwrap();
    let set_mode = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for path in [&file, &folder] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        set_mode(path, mode | 0o020);
        let message = build_error(builder_with(&home, &[]));
        assert!(message.contains("other users can change") && message.contains(path.to_str().unwrap()), "{message}");
        set_mode(path, mode & !0o022);
        assert_eq!(builder_with(&home, &[]).build().unwrap().run.timeout.as_secs(), 7);
    }
}

#[test]
fn profile_is_read_from_the_home_of_the_builder_only() {
    let home = home("[lab]\n");
    assert_eq!(builder_with(&home, &[]).with_profile("lab").build().unwrap().profile.unwrap().name, "lab");
    let message = build_error(Settings::builder().with_variables([("AIGNOSTICS_CACHE_DIR", "/c")]).with_profile("lab"));
    assert!(message.contains("no home folder"), "{message}");
}

#[cfg(unix)]
#[test]
fn token_file_path_that_is_not_utf8_is_an_error() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let path = PathBuf::from(OsStr::from_bytes(b"/run/to\xffken"));
    let message = build_error(builder_with(&home(""), &[]).with_token_file(path));
    assert!(
        message.contains("AIGNOSTICS_ACCESS_TOKEN_FILE (from the command line) names '/run/to\u{fffd}ken'"),
        "{message}"
    );
}

#[test]
fn unencrypted_urls_are_permitted_only_on_this_machine() {
    let home = home("");
    for (name, prefix) in [("WORKLOAD_IDENTITY", "url:"), ("WORKLOAD_IDENTITY_TOKEN_URL", "")] {
        let read = |url: &str| {
            builder_with(&home, &[("WORKLOAD_IDENTITY", "gitlab"), (name, &format!("{prefix}{url}"))]).build()
        };
        for url in ["http://127.0.0.1:1/t", "http://localhost/t", "http://[::1]/t", "https://h.test/t"] {
            read(url).unwrap();
        }
        for url in [
            "http://h.test/t",
            "http://169.254.169.254/t",
            "http://localhost.test/t",
            "https://u:p@h.test/",
            "ftp://h/",
        ] {
            let message = read(url).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
