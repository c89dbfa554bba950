//! Machine credentials: every provider against the emulator, the levels of settings, and the errors.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::machine::{Machine, USER, jwt, serve_responses};

#[test]
fn token_comes_from_a_variable_a_file_or_a_command() {
    let machine = Machine::start();
    let token = machine.token();
    let file = machine.write("token", &token, 0o600);
    let command = format!("cat '{file}'");
    let array = json!(["/bin/cat", file]).to_string();
    for (variables, arguments) in [
        (&[("AIGNOSTICS_ACCESS_TOKEN", token.as_str())][..], &[][..]),
        (&[("AIGNOSTICS_ACCESS_TOKEN_FILE", file.as_str())], &[]),
        (&[("AIGNOSTICS_TOKEN_COMMAND", command.as_str())], &[]),
        (&[("AIGNOSTICS_TOKEN_COMMAND", array.as_str())], &[]),
        (&[], &["--token-file", file.as_str()]),
        (&[], &["--token-command", command.as_str()]),
    ] {
        assert_eq!(machine.user_id(variables, arguments), USER, "{variables:?} {arguments:?}");
    }
    let printed = machine.run(&[("AIGNOSTICS_ACCESS_TOKEN", &token)], &["auth", "token"]);
    assert_eq!(printed.stdout.trim(), token);
}

#[test]
fn client_authenticates_with_its_secret_file() {
    let machine = Machine::start();
    let (id, secret) = (machine.client_id().to_owned(), machine.secret_file());
    let variables = [("AIGNOSTICS_CLIENT_ID", id.as_str()), ("AIGNOSTICS_CLIENT_SECRET_FILE", &secret)];
    let expected = format!("{id}@clients");
    assert_eq!(machine.user_id(&variables, &[]), expected);
    assert_eq!(machine.user_id(&variables, &[]), expected);
    assert_eq!(machine.shell.served("identity", "POST", "/oauth/token"), 1, "processes share the token");
    let wrong = machine.write("wrong", "canary", 0o600);
    let other = machine.path("other").display().to_string();
    let variables = [
        ("AIGNOSTICS_CLIENT_ID", id.as_str()),
        ("AIGNOSTICS_CLIENT_SECRET_FILE", &wrong),
        ("AIGNOSTICS_CACHE_DIR", &other),
    ];
    let message = machine.failure(4, &variables, &[]);
    for part in ["client credentials", "AIGNOSTICS_CLIENT_SECRET_FILE", "invalid_client", "replace the credential"] {
        assert!(message.contains(part), "{message}");
    }
    let message = machine.failure(2, &[("AIGNOSTICS_CLIENT_ID", &id)], &[]);
    assert!(message.contains("AIGNOSTICS_CLIENT_KEY_FILE must be set in the environment, or"), "{message}");
}

#[test]
fn workload_identity_is_exchanged() {
    let machine = Machine::start();
    let (id, secret, token) = (machine.client_id().to_owned(), machine.secret_file(), machine.token());
    let file = machine.write("projected", &token, 0o644);
    let from_file = format!("file:{file}");
    let github = serve_responses(vec![(200, json!({ "value": token }).to_string())]);
    let url = format!("url:{}", serve_responses(vec![(200, token.clone())]));
    let sources: [&[(&str, &str)]; 6] = [
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", from_file.as_str())],
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", "kubernetes"), ("AIGNOSTICS_WORKLOAD_IDENTITY_FILE", file.as_str())],
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", "gitlab"), ("AIGNOSTICS_ID_TOKEN", token.as_str())],
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", "env:MY_ID"), ("MY_ID", token.as_str())],
        &[
            ("AIGNOSTICS_WORKLOAD_IDENTITY", "github"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", github.as_str()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request"),
        ],
        &[("AIGNOSTICS_WORKLOAD_IDENTITY", url.as_str())],
    ];
    for (number, source) in sources.into_iter().enumerate() {
        let grant = if number % 2 == 0 { "token-exchange" } else { "jwt-bearer" };
        let cache = machine.path(&format!("cache-{number}")).display().to_string();
        let client = [
            ("AIGNOSTICS_CLIENT_ID", id.as_str()),
            ("AIGNOSTICS_CLIENT_SECRET_FILE", &secret),
            ("AIGNOSTICS_WORKLOAD_IDENTITY_GRANT", grant),
            ("AIGNOSTICS_WORKLOAD_IDENTITY_SUBJECT_TOKEN_TYPE", "access_token"),
            ("AIGNOSTICS_CACHE_DIR", &cache),
        ];
        let variables = [source, &client].concat();
        assert_eq!(machine.user_id(&variables, &[]), USER, "{source:?}");
    }
}

#[test]
fn ci_identity_is_used_only_on_request() {
    let machine = Machine::start();
    let variables =
        [("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:9/"), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary")];
    let message = machine.failure(4, &variables, &[]);
    assert!(message.contains("aignostics user login"), "{message}");
}

#[test]
fn highest_level_wins_without_fallback() {
    let machine = Machine::start();
    let token = machine.token();
    let (file, wrong) = (machine.write("token", &token, 0o600), machine.write("wrong", "invalid-token", 0o600));
    assert_eq!(machine.user_id(&[("AIGNOSTICS_ACCESS_TOKEN", "invalid")], &["--token-file", &file]), USER);
    let message = machine.failure(4, &[("AIGNOSTICS_ACCESS_TOKEN", &token)], &["--token-file", &wrong]);
    assert!(message.contains("token file '--token-file'") && message.contains("provide another token"), "{message}");
    // The environment has precedence over the settings file.
    fs::create_dir_all(machine.path(".aignostics")).unwrap();
    machine.write(".aignostics/.env", "AIGNOSTICS_ACCESS_TOKEN=invalid\n", 0o600);
    assert_eq!(machine.user_id(&[("AIGNOSTICS_ACCESS_TOKEN_FILE", &file)], &[]), USER);
    machine.failure(4, &[], &[]);
}

#[test]
fn two_sources_on_one_level_are_named() {
    let machine = Machine::start();
    let message = machine.failure(2, &[("AIGNOSTICS_ACCESS_TOKEN", "a"), ("AIGNOSTICS_TOKEN_COMMAND", "b")], &[]);
    assert!(message.contains("AIGNOSTICS_ACCESS_TOKEN") && message.contains("AIGNOSTICS_TOKEN_COMMAND"), "{message}");
    let message = machine.failure(2, &[], &["--token-file", "a", "--token-command", "b"]);
    assert!(message.contains("--token-file") && message.contains("--token-command"), "{message}");
    let refresh = ("AIGNOSTICS_REFRESH_TOKEN", "0123456789");
    let message = machine.failure(2, &[refresh, ("AIGNOSTICS_WORKLOAD_IDENTITY", "gitlab")], &[]);
    assert!(
        message.contains("AIGNOSTICS_REFRESH_TOKEN") && message.contains("AIGNOSTICS_WORKLOAD_IDENTITY"),
        "{message}"
    );
}

#[test]
fn env_file_of_the_working_folder_sets_no_credential() {
    let machine = Machine::start();
    let token = machine.token();
    machine.write(".env", &format!("AIGNOSTICS_ACCESS_TOKEN={token}\nAIGNOSTICS_PROFILE=evil\n"), 0o600);
    let message = machine.failure(4, &[], &[]);
    assert!(message.contains("ignoring a setting") && !message.contains(&token), "{message}");
    assert_eq!(machine.user_id(&[], &["--trust-env-file"]), USER);
    let names = ["TOKEN_COMMAND", "ACCESS_TOKEN_FILE", "WORKLOAD_IDENTITY", "CLIENT_SECRET_FILE", "TOKEN_CACHE"];
    let lines = names.map(|name| format!("AIGNOSTICS_{name}=x"));
    machine.write(".env", &lines.join("\n"), 0o600);
    let config = machine.run(&[], &["system", "config", "--format", "json"]);
    let config: Value = serde_json::from_str(&config.stdout).unwrap();
    assert_eq!(config["settings"]["ignored"].as_array().unwrap().len(), names.len(), "{config}");
    assert_eq!(config["settings"]["credential"]["source"], "stored login");
}

#[test]
fn unusable_credentials_are_one_message_each() {
    let machine = Machine::start();
    let expired = jwt(&json!({ "exp": 1000 }));
    let other = jwt(&json!({ "aud": "other", "exp": 9_999_999_999_u64 }));
    let (empty, public_file) = (machine.write("empty", "", 0o600), machine.write("open", "canary", 0o644));
    let missing = machine.path("missing").display().to_string();
    let failing = machine.script("fails", "echo canary; echo no vault >&2; exit 3");
    let html = machine.script("html", "echo '<html>canary</html>'");
    let large = machine.script("large", "head -c 1000000 /dev/zero | tr '\\0' x");
    let endpoint = format!("url:{}", serve_responses(vec![(403, "canary".to_owned())]));
    let unreachable = "url:http://127.0.0.1:9/token";
    let cases: [(i32, (&str, &str), &[&str]); 10] = [
        (4, ("ACCESS_TOKEN", &expired), &["'AIGNOSTICS_ACCESS_TOKEN'", "expired at 1970-01-01T00:16:40Z", "new token"]),
        (4, ("ACCESS_TOKEN", &other), &["'AIGNOSTICS_ACCESS_TOKEN'", "for the audience 'other'"]),
        (1, ("ACCESS_TOKEN_FILE", &empty), &["token file", &empty, "is empty"]),
        (1, ("ACCESS_TOKEN_FILE", &public_file), &["token file", &public_file, "run `chmod 600"]),
        (1, ("ACCESS_TOKEN_FILE", &missing), &["token file", &missing, "does not exist"]),
        (1, ("TOKEN_COMMAND", &failing), &["token command", &failing, "exit code 3: no vault"]),
        (1, ("TOKEN_COMMAND", &html), &["token command", &html, "HTML"]),
        (1, ("TOKEN_COMMAND", &large), &["token command", &large, "larger than 65536 bytes"]),
        (4, ("WORKLOAD_IDENTITY", &endpoint), &["workload identity endpoint", "403", "check the permissions"]),
        (
            1,
            ("WORKLOAD_IDENTITY", unreachable),
            &["workload identity endpoint", "http://127.0.0.1:9/token", "check the network"],
        ),
    ];
    for (code, (name, value), parts) in cases {
        let name = format!("AIGNOSTICS_{name}");
        let message = machine.failure(code, &[(&name, value), ("AIGNOSTICS_RETRY_FOR", "0")], &[]);
        assert_eq!(message.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{message}");
        assert!(parts.iter().all(|part| message.lines().next().unwrap().contains(part)), "{parts:?}: {message}");
        assert!(!message.contains("user login"), "{message}");
    }
    assert_eq!(machine.shell.served("api", "GET", "/"), 0, "nothing is sent");
}

#[test]
fn token_that_the_platform_rejects_is_named() {
    let machine = Machine::start();
    let message = machine.failure(4, &[("AIGNOSTICS_ACCESS_TOKEN", "unknown-token")], &[]);
    assert!(message.contains("access token 'AIGNOSTICS_ACCESS_TOKEN': the platform rejected the token"), "{message}");
    assert!(!message.contains("user login"), "{message}");
}

#[test]
fn projected_file_may_be_readable_by_others() {
    let machine = Machine::start();
    fs::create_dir(machine.path("..2026")).unwrap();
    machine.write("..2026/token", &machine.token(), 0o644);
    symlink("..2026", machine.path("..data")).unwrap();
    symlink("..data/token", machine.path("token")).unwrap();
    assert_eq!(machine.user_id(&[], &["--token-file", "token"]), USER);
}

#[test]
fn refused_refresh_token_is_named_with_its_remedy() {
    let machine = Machine::start();
    let refused = [("AIGNOSTICS_REFRESH_TOKEN", "canary-canary")];
    let message = machine.failure(4, &refused, &[]);
    assert!(
        message.contains("refresh token 'AIGNOSTICS_REFRESH_TOKEN'") && message.contains("invalid_grant"),
        "{message}"
    );
    assert!(message.contains("unset it") && !message.contains("user login"), "{message}");
    let message = machine.failure(4, &refused, &["--format", "json"]);
    let error: Value = serde_json::from_str(&message).unwrap();
    assert!(error["error"]["remedy"].as_str().unwrap().contains("unset it"), "{message}");
}

#[test]
fn claims_of_an_unknown_token_are_not_invented() {
    let machine = Machine::start();
    let variables = [("AIGNOSTICS_ACCESS_TOKEN", machine.token())];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let identity = |variables: &[(&str, &str)]| {
        let result = machine.run(variables, &["user", "whoami"]);
        result.assert_code(0);
        let identity: Value = serde_json::from_str(&result.stdout).unwrap();
        crate::shell::assert_conforms("identity", &identity);
        identity
    };
    let verified = identity(&variables);
    assert_eq!(verified["token"]["audience"].as_array().unwrap().len(), 1);
    assert_eq!(verified["credential"]["name"], "AIGNOSTICS_ACCESS_TOKEN");
    assert_eq!(
        (&verified["credential"]["source"], &verified["credential"]["level"]),
        (&"access token".into(), &"the environment".into())
    );
    // Its claims cannot be verified without keys, but the platform accepts it.
    let unreachable_keys = [("AIGNOSTICS_JWS_JSON_URL", "http://127.0.0.1:9/keys"), ("AIGNOSTICS_RETRY_FOR", "0")];
    let unverified = identity(&[&variables[..], &unreachable_keys].concat());
    assert_eq!(unverified["user"]["id"], USER);
    for claim in ["/role", "/token/issuer", "/token/scope", "/token/audience", "/token/expires_at"] {
        assert_eq!(unverified.pointer(claim), Some(&Value::Null), "{claim}");
    }
    let text = machine.run(&[&variables[..], &unreachable_keys].concat(), &["user", "whoami", "--format", "table"]);
    assert!(
        text.stdout.contains("access token, set by AIGNOSTICS_ACCESS_TOKEN (from the environment)"),
        "{}",
        text.stdout
    );
    assert!(text.stdout.contains("unknown"), "{}", text.stdout);
}

#[test]
fn login_prints_the_identity_as_json() {
    let shell = crate::shell::Shell::start();
    let identity = shell.json("identity", &["user", "login"]);
    assert_eq!(identity, shell.json("identity", &["user", "whoami"]));
    assert_eq!(shell.run(&["user", "login"]).stdout, "", "a table has no identity");
}
