//! `aignostics system` and `aignostics sdk`.

use std::fs;

use auth_http::Method;
use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::shell::{Shell, assert_conforms};

#[test]
fn identity_and_token_match_their_schemas() {
    let shell = Shell::start();
    let identity = shell.json("identity", &["user", "whoami"]);
    assert!(identity["organization"]["aignostics_bucket_hmac_secret_access_key"].as_str().unwrap().starts_with("***"));
    let table = shell.run(&["user", "whoami", "--format", "table"]);
    table.assert_code(0);
    assert!(table.stdout.contains("org_emulator") && !table.stdout.contains("hmac"), "{}", table.stdout);
    let token = shell.json("token", &["auth", "token"]);
    assert_eq!(shell.run(&["auth", "token"]).stdout.trim(), token["access_token"].as_str().unwrap());
    let findings = shell.json("findings", &["auth", "doctor"]);
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["is_ok"] == true), "{findings:#}");
    assert_eq!(shell.json("report", &["demo"])["complete"], true);
}

/// Runs a command without a login.
fn run_without_login(shell: &Shell, arguments: &[&str]) -> CommandResult {
    CommandResult::of(&shell.command(arguments).env("AIGNOSTICS_REFRESH_TOKEN", "").output().unwrap())
}

#[test]
fn health_needs_no_login() {
    let shell = Shell::start();
    assert_eq!(shell.json("health", &["system", "health"]), json!({ "status": "UP", "reason": null }));
    let result = run_without_login(&shell, &["system", "health"]);
    result.assert_code(0);
    assert_eq!(serde_json::from_str::<Value>(&result.stdout).unwrap()["status"], "UP", "JSON by default");
    // The Python tool names the option `--output-format`.
    let named = shell.run(&["system", "health", "--output-format", "table"]);
    assert_eq!(named.stdout.split_whitespace().collect::<Vec<_>>(), ["status", "UP"]);
    shell.run(&["system", "health", "--output-format", "yaml"]).assert_code(2);
    insta::assert_snapshot!("health", shell.transcript(&["system", "health", "--format", "table"]));
}

#[test]
fn unhealthy_platform_is_exit_code_2() {
    let shell = Shell::start();
    let fault = json!({ "server": "api", "path": "/health", "effect": { "kind": "status", "status": 503 } });
    shell.control(Method::Post, "/faults", &fault);
    let result = shell.run(&["system", "health", "--format", "json"]);
    result.assert_code(2);
    let health: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("health", &health);
    assert_eq!(health["status"], "DOWN");
    let error: Value = serde_json::from_str(&result.stderr).unwrap();
    assert_conforms("error", &error);
    assert_eq!(error["error"]["kind"], "unhealthy");
    insta::assert_snapshot!("unhealthy", shell.transcript(&["system", "health", "--format", "table"]));
}

#[test]
fn unknown_health_is_not_reported_as_down() {
    let shell = Shell::start();
    let page = json!({ "kind": "status", "status": 200, "body": "<html>" });
    shell.control(Method::Post, "/faults", &json!({ "server": "api", "path": "/health", "effect": page }));
    let error = shell.error(1, &["system", "health"]);
    assert!(error["message"].as_str().unwrap().contains("cannot parse the response"), "{error}");
}

#[test]
fn conflict_and_missing_address_have_their_own_hints() {
    let shell = Shell::start();
    let fault = |method: &str, path: &str, status: u16| {
        let effect = json!({ "kind": "status", "status": status });
        shell.control(Method::Post, "/faults", &json!({ "method": method, "path": path, "effect": effect }));
    };
    fault("GET", "/api/v1/me", 404);
    let error = shell.error(2, &["user", "whoami"]);
    assert!(error["remedy"].as_str().unwrap().contains("system config"), "{error}");
    shell.control(Method::Delete, "/faults", &Value::Null);
    let run = shell.submit("outcomes", &["a"]);
    fault("POST", "/api/v1/runs/*", 409);
    fault("PUT", "/api/v1/runs/*", 409);
    let error = shell.error(3, &["run", "update-metadata", &run, "{}"]);
    assert!(error["remedy"].as_str().unwrap().contains("refused the change"), "{error}");
}

#[test]
fn unreachable_platform_is_exit_code_1() {
    let shell = Shell::start();
    let mut command = shell.command(&["system", "health", "--format", "json"]);
    let result = CommandResult::of(&command.env("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9").output().unwrap());
    result.assert_code(1);
    let error: Value = serde_json::from_str(&result.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "unreachable");
}

#[test]
fn info_needs_no_login_and_shows_no_secret() {
    let shell = Shell::start();
    let info = shell.json("info", &["system", "info", "--mask-secrets", "--no-include-environ"]);
    assert_eq!(info["settings"]["refresh_token"], "***");
    for arguments in [&["system", "info"][..], &["system", "info", "--format", "table"], &["system", "config"]] {
        let result = shell.run(arguments);
        result.assert_code(0);
        let secret = shell.running.ready["env"]["AIGNOSTICS_REFRESH_TOKEN"].as_str().unwrap();
        assert!(!result.stdout.contains(secret) && !result.stderr.contains(secret), "{arguments:?}");
        run_without_login(&shell, arguments).assert_code(0);
    }
    assert_eq!(shell.served("api", "GET", "/"), 0, "no request is sent");
}

#[test]
fn config_reports_the_source_of_each_setting() {
    let shell = Shell::start();
    let home = shell.folder();
    fs::create_dir_all(home.join(".aignostics")).unwrap();
    fs::write(home.join(".aignostics/.env"), "AIGNOSTICS_RUN_TIMEOUT=7\nAIGNOSTICS_AUDIENCE=shadowed\n").unwrap();
    fs::write(home.join(".env"), "AIGNOSTICS_TOKEN_URL=https://evil.test/token\nAIGNOSTICS_ME_TIMEOUT=8\n").unwrap();
    let result = shell.run(&["system", "config", "--format", "json"]);
    result.assert_code(0);
    let config: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_conforms("config", &config);
    let source_of = |name: &str| {
        config["variables"].as_array().unwrap().iter().find(|variable| variable["name"] == name).cloned().unwrap()
    };
    assert_eq!(
        source_of("AIGNOSTICS_AUDIENCE"),
        json!({ "name": "AIGNOSTICS_AUDIENCE", "source": "environment", "file": null })
    );
    let file = home.join(".aignostics/.env").display().to_string();
    assert_eq!(source_of("AIGNOSTICS_RUN_TIMEOUT")["file"], json!(file));
    assert_eq!(source_of("AIGNOSTICS_ME_TIMEOUT")["source"], "file");
    assert_eq!(source_of("AIGNOSTICS_TOKEN_URL")["source"], "environment");
    assert_eq!(config["settings"]["operations"]["run"]["timeout"], 7.0);
    assert_eq!(config["settings"]["ignored"], json!(["AIGNOSTICS_TOKEN_URL"]));
    let table = shell.run(&["system", "config"]).stdout;
    let has_row = |name: &str, value: &str| {
        table.lines().any(|line| line.trim_start().starts_with(name) && line.trim_end().ends_with(value))
    };
    assert!(has_row("operations.run.timeout", "7.0") && has_row("refresh_token", "***"), "{table}");
    assert!(has_row("AIGNOSTICS_AUDIENCE", "the environment") && has_row("AIGNOSTICS_RUN_TIMEOUT", &file), "{table}");
}

#[test]
fn invalid_settings_are_exit_code_2() {
    let shell = Shell::start();
    for arguments in [["system", "config"], ["system", "info"], ["system", "health"]] {
        let mut command = shell.command(&[&arguments[..], &["--format", "json"]].concat());
        let result = CommandResult::of(&command.env("AIGNOSTICS_RUN_TIMEOUT", "never").output().unwrap());
        result.assert_code(2);
        assert!(
            result.stderr.contains("AIGNOSTICS_RUN_TIMEOUT") && !result.stderr.contains("never"),
            "{}",
            result.stderr
        );
    }
}

#[test]
fn metadata_schemas_are_valid_json_schemas() {
    let shell = Shell::start();
    for command in ["run-metadata-schema", "item-metadata-schema"] {
        let mut pretty = shell.command(&["sdk", command]);
        let pretty = CommandResult::of(&pretty.env_clear().output().unwrap());
        pretty.assert_code(0);
        let schema: Value = serde_json::from_str(&pretty.stdout).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        assert_eq!(schema["type"], "object");
        assert!(pretty.stdout.lines().count() > 10);
        let line = shell.run(&["sdk", command, "--no-pretty"]).stdout;
        assert_eq!(line.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), schema);
        assert_eq!(shell.run(&["sdk", command, "--format", "jsonl"]).stdout, line);
        assert_eq!(
            shell.run(&["sdk", command, "--no-pretty", "--pretty"]).stdout,
            pretty.stdout,
            "the last option wins"
        );
    }
}
