//! Profiles, the settings file, and the output formats of a token.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::command::CommandResult;
use crate::machine::Machine;

fn write_profiles(machine: &Machine, text: &str) -> std::path::PathBuf {
    let folder = machine.shell.folder().join(".aignostics");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let path = folder.join("profiles.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    path
}

fn read_config(machine: &Machine, variables: &[(&str, &str)], arguments: &[&str]) -> Value {
    let result = machine.run(variables, &[&["system", "config", "--format", "json"], arguments].concat());
    result.assert_code(0);
    serde_json::from_str(&result.stdout).unwrap()
}

#[test]
fn environment_overrides_the_profile() {
    let machine = Machine::start();
    let file = machine.write("token", &machine.token(), 0o600);
    let text = format!(
        "[lab]\norganization = \"org_lab\"\ntoken_file = \"{file}\"\nrun_timeout = 7\nca_cert = []\n\
         [command]\ntoken_command = [\"cat\", \"{file}\"]\n[staging]\nenvironment = \"staging\"\n"
    );
    let path = write_profiles(&machine, &text);
    for (variables, arguments) in [
        (&[("AIGNOSTICS_PROFILE", "lab")][..], &[][..]),
        (&[], &["--profile", "lab"]),
        (&[("AIGNOSTICS_PROFILE", "none")], &["--profile", "lab"]),
    ] {
        let config = read_config(&machine, variables, arguments);
        let settings = &config["settings"];
        assert_eq!(settings["organization_id"], "org_lab");
        assert_eq!(settings["credential"]["source"], "token file");
        assert_eq!(settings["credential"]["level"], "profile 'lab'");
        assert_eq!((&settings["profile"], &settings["operations"]["run"]["timeout"]), (&"lab".into(), &7.0.into()));
    }
    let overriding = read_config(
        &machine,
        &[("AIGNOSTICS_RUN_TIMEOUT", "8"), ("AIGNOSTICS_ACCESS_TOKEN", "x")],
        &["--profile", "lab"],
    );
    assert_eq!(overriding["settings"]["operations"]["run"]["timeout"], 8.0);
    assert_eq!(overriding["settings"]["credential"]["name"], "AIGNOSTICS_ACCESS_TOKEN");
    let plain = read_config(&machine, &[], &[]);
    assert_eq!((&plain["settings"]["profile"], &plain["settings"]["organization_id"]), (&Value::Null, &Value::Null));
    machine.run(&[], &["user", "whoami", "--profile", "command"]).assert_code(0);

    let listed = machine.run(&[], &["profile", "list"]);
    assert_eq!(listed.stdout, "command\nlab\nstaging\n");
    let shown = machine.run(&[], &["profile", "show", "lab", "--format", "json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&shown.stdout).unwrap()["variables"]["AIGNOSTICS_ORGANIZATION_ID"],
        "org_lab"
    );
    assert_eq!(machine.run(&[], &["profile", "path"]).stdout.trim(), path.display().to_string());
    machine.run(&[], &["profile", "show", "none"]).assert_code(2);
}

#[test]
fn profile_that_others_can_change_or_with_a_secret_is_refused() {
    let machine = Machine::start();
    let path = write_profiles(&machine, "[lab]\nrun_timeout = 7\n");
    let assert_refused = |reason: &str| {
        let result = machine.run(&[], &["system", "config", "--profile", "lab"]);
        result.assert_code(2);
        assert!(result.stderr.contains(reason) && !result.stderr.contains("canary"), "{}", result.stderr);
    };
    for changed in [&path, path.parent().unwrap()] {
        let old_permissions = fs::metadata(changed).unwrap().permissions();
        fs::set_permissions(changed, Permissions::from_mode(old_permissions.mode() | 0o020)).unwrap();
        assert_refused("other users can change");
        fs::set_permissions(changed, old_permissions).unwrap();
    }
    // The target of a link is checked. Changing the owner would need root.
    let target = machine.shell.folder().join("profiles-of-all.toml");
    fs::rename(&path, &target).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o646)).unwrap();
    assert_refused("other users can change");
    fs::remove_file(&path).unwrap();
    for (text, reason) in [
        ("[lab]\nrefresh_token = \"canary\"\n", "'refresh_token' of profile 'lab' in line 2 must not be in a profile"),
        ("[lab]\n\n# ü\nno_such = \"canary\"\n", "in line 4 is not a known setting"),
        ("[lab]\nproxy = \"http://p.test/?canary\"\n", "must not contain a user"),
        ("[lab]\nproxy = \"canary\"\n", "must be a URL"),
        ("[lab]\nca_cert = [1]\n", "must name files"),
        ("ü = \"", "line 1 is not valid TOML"),
        ("[lab]\nproxy = \"http://u:canary@p.test\"\n", "must not contain a user"),
        ("[lab]\nenvironment = \"canary\"\n", "must be production, staging, dev or test"),
        ("[lab]\n\nx = canary\n", "line 3 is not valid TOML"),
        ("\naccess_token = \"canary\"\n", "in line 2 is not in a profile"),
        ("[other]\n", "no profile 'lab'"),
    ] {
        write_profiles(&machine, text);
        assert_refused(reason);
    }
    fs::remove_file(path).unwrap();
    assert_refused("no profile 'lab'");
}

#[test]
fn settings_file_is_edited() {
    let machine = Machine::start();
    let run = |arguments: &[&str]| machine.run(&[], &[&["system", "config"], arguments].concat());
    run(&["set", "run_timeout", "7"]).assert_code(0);
    assert_eq!(run(&["get", "AIGNOSTICS_RUN_TIMEOUT"]).stdout, "7\n");
    assert_eq!(read_config(&machine, &[], &[])["settings"]["operations"]["run"]["timeout"], 7.0);
    let refused = run(&["set", "access_token", "canary"]);
    refused.assert_code(2);
    assert!(refused.stderr.contains("is a secret") && !refused.stderr.contains("canary"), "{}", refused.stderr);
    run(&["unset", "run_timeout"]).assert_code(0);
    run(&["get", "run_timeout"]).assert_code(2);
}

#[test]
fn token_formats_of_other_tools_can_be_read_back() {
    let machine = Machine::start();
    let token = machine.token();
    for (form, member) in [("exec-credential", "/status/token"), ("google", "/id_token"), ("aws", "/SessionToken")] {
        let result = machine.run(&[("AIGNOSTICS_ACCESS_TOKEN", &token)], &["auth", "token", "--format", form]);
        result.assert_code(0);
        let printed: Value = serde_json::from_str(&result.stdout).unwrap();
        assert_eq!(printed.pointer(member), Some(&json!(token)), "{form}");
        let file = machine.write("printed", &result.stdout, 0o600);
        let again = machine.run(&[], &["auth", "token", "--token-command", &format!("cat '{file}'")]);
        assert_eq!(again.stdout.trim(), token, "{form}");
    }
    machine.run(&[], &["system", "config", "--format", "aws"]).assert_code(2);
}

#[test]
fn user_logs_in_with_a_refresh_token_from_standard_input() {
    let machine = Machine::start();
    let secret = machine.shell.running.ready["env"]["AIGNOSTICS_REFRESH_TOKEN"].as_str().unwrap().to_owned();
    let log_in = |input: &str| {
        let mut command = machine.command(&[], &["user", "login", "--with-refresh-token"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        CommandResult::of(&child.wait_with_output().unwrap())
    };
    log_in("").assert_code(2);
    let wrong = log_in("canary-canary");
    wrong.assert_code(4);
    assert!(!wrong.stderr.contains("canary"), "{}", wrong.stderr);
    let printed = log_in(&format!("{secret}\n"));
    printed.assert_code(0);
    assert!(
        printed.stderr.contains("logged in as Ada Emulator") && !printed.stderr.contains(&secret),
        "{}",
        printed.stderr
    );
    machine.run(&[], &["user", "whoami"]).assert_code(0);
}

#[test]
fn doctor_checks_the_configured_provider() {
    let machine = Machine::start();
    let file = machine.write("token", &machine.token(), 0o600);
    let findings = |variables: &[(&str, &str)], code: i32| {
        let result = machine.run(variables, &["auth", "doctor", "--format", "json"]);
        result.assert_code(code);
        serde_json::from_str::<Vec<Value>>(&result.stdout).unwrap()
    };
    let doctor_findings = findings(&[("AIGNOSTICS_ACCESS_TOKEN_FILE", &file)], 0);
    let detail = |name: &str| {
        let finding = doctor_findings
            .iter()
            .find(|finding| finding["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {doctor_findings:#?}"));
        finding["detail"].as_str().unwrap().to_owned()
    };
    assert!(detail("credential").contains("token file, set by AIGNOSTICS_ACCESS_TOKEN_FILE (from the environment)"));
    assert!(detail("token file").contains("min left, after"));
    assert!(detail("access to the platform").contains("auth0|emulator-1"));
    assert!(detail("status page").starts_with("http://"));
    let doctor_findings = findings(&[("AIGNOSTICS_TOKEN_COMMAND", "false")], 1);
    let failed = doctor_findings.iter().find(|finding| finding["name"] == "token command").unwrap();
    assert!(failed["detail"].as_str().unwrap().contains("exit code 1"), "{failed}");
}

#[test]
fn profile_is_shown_without_secrets() {
    let machine = Machine::start();
    let text = "[lab]\nstatus_page_url = \"https://u:canary@h.test/s?canary=1\"\nrun_timeout = 0x10\n\
                token_command = [\"vault\", \"--token\", \"canary\", \"-field=token\"]\n";
    write_profiles(&machine, text);
    for format in ["json", "table"] {
        let shown = machine.run(&[], &["profile", "show", "lab", "--format", format]);
        shown.assert_code(0);
        assert!(!shown.stdout.contains("canary"), "{}", shown.stdout);
        assert!(
            shown.stdout.contains("https://h.test/s?***") && shown.stdout.contains("-field=token"),
            "{}",
            shown.stdout
        );
        assert!(shown.stdout.contains("16"), "{}", shown.stdout);
    }
}

#[test]
fn profile_in_a_settings_file_is_ignored_with_a_warning() {
    let machine = Machine::start();
    write_profiles(&machine, "[lab]\norganization = \"org_lab\"\n");
    let path = machine.shell.folder().join(".aignostics/.env");
    fs::write(&path, "AIGNOSTICS_PROFILE=lab\nAIGNOSTICS_RUN_TIMEOUT=7\n").unwrap();
    let config = read_config(&machine, &[], &[]);
    assert_eq!(config["settings"]["ignored"], json!(["AIGNOSTICS_PROFILE"]));
    assert_eq!((&config["settings"]["profile"], &config["settings"]["organization_id"]), (&Value::Null, &Value::Null));
    assert_eq!(config["settings"]["operations"]["run"]["timeout"], 7.0);
    let printed = machine.run(&[], &["system", "config"]).stderr;
    assert!(printed.contains("ignoring the profile in a file") && printed.contains(".aignostics/.env"), "{printed}");
    assert_eq!(read_config(&machine, &[], &["--profile", "lab"])["settings"]["organization_id"], "org_lab");
}

#[test]
fn proxy_of_the_environment_has_precedence_over_that_of_the_profile() {
    let machine = Machine::start();
    let url = "https://platform.invalid";
    let text = format!(
        "[lab]\nproxy = \"http://127.0.0.1:9\"\napi_root = \"{url}\"\naudience = \"a\"\ntoken_url = \"{url}/token\"\n\
         authorization_base_url = \"{url}/authorize\"\ndevice_url = \"{url}/device\"\njws_json_url = \"{url}/keys\"\n\
         client_id_interactive = \"c\"\n"
    );
    write_profiles(&machine, &text);
    let mut command = machine.command(&[], &["api", "GET", "/v1/me", "--profile", "lab", "--retry-for", "0s"]);
    for (name, _) in machine.shell.running.ready["env"].as_object().unwrap() {
        command.env_remove(name);
    }
    command.env("AIGNOSTICS_ACCESS_TOKEN", "x").env("AIGNOSTICS_CACHE_DIR", machine.shell.folder());
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    let result = CommandResult::of(&command.output().unwrap());
    assert!(result.stderr.contains("through the proxy http://127.0.0.1:9)"), "{}", result.stderr);
    let result = CommandResult::of(&command.env("HTTPS_PROXY", "http://127.0.0.1:19").output().unwrap());
    assert!(result.stderr.contains("through the proxy http://127.0.0.1:19)"), "{}", result.stderr);
    let result = CommandResult::of(&command.env("NO_PROXY", "platform.invalid").output().unwrap());
    assert!(!result.stderr.contains("through the proxy"), "{}", result.stderr);
}

#[test]
fn unknown_expiry_is_left_out() {
    let machine = Machine::start();
    let opaque = [("AIGNOSTICS_ACCESS_TOKEN", "opaque-token")];
    let run = |arguments: &[&str]| machine.run(&opaque, &[&["auth", "token"], arguments].concat());
    let names = [("exec-credential", "expirationTimestamp"), ("google", "expiration_time"), ("aws", "Expiration")];
    for (form, name) in names {
        let result = run(&["--format", form]);
        result.assert_code(0);
        assert!(result.stdout.contains("opaque-token") && !result.stdout.contains(name), "{}", result.stdout);
    }
    let token: Value = serde_json::from_str(&run(&["--format", "json"]).stdout).unwrap();
    assert_eq!(token["expires_at"], Value::Null);
    let with_min_ttl = run(&["--min-ttl", "10m"]);
    with_min_ttl.assert_code(1);
    assert!(with_min_ttl.stderr.contains("expiry of the token is unknown"), "{}", with_min_ttl.stderr);
    let with_expiry =
        machine.run(&[("AIGNOSTICS_ACCESS_TOKEN", &machine.token())], &["auth", "token", "--format", "aws"]);
    assert!(with_expiry.stdout.contains("Expiration"), "{}", with_expiry.stdout);
}

#[test]
fn remedies_of_the_doctor_fit_the_failure() {
    let machine = Machine::start();
    let finding = |variables: &[(&str, &str)], name: &str| {
        let result = machine.run(variables, &["auth", "doctor", "--format", "json"]);
        let findings: Vec<Value> = serde_json::from_str(&result.stdout).unwrap();
        findings.into_iter().find(|finding| finding["name"] == name).unwrap()
    };
    let access = "access to the platform";
    let rejected = finding(&[("AIGNOSTICS_ACCESS_TOKEN", "unknown-token")], access);
    assert!(rejected["remedy"].as_str().unwrap().contains("for the audience of the platform"), "{rejected}");
    let fault =
        json!({ "server": "api", "path": "/api/v1/me", "times": 1, "effect": { "kind": "status", "status": 403 } });
    machine.shell.control(auth_http::Method::Post, "/faults", &fault);
    let token = machine.token();
    let forbidden = finding(&[("AIGNOSTICS_ACCESS_TOKEN", &token)], access);
    assert!(forbidden["remedy"].as_str().unwrap().contains("administrator"), "{forbidden}");
    let refused = finding(&[("AIGNOSTICS_REFRESH_TOKEN", "canary-canary")], "login");
    assert!(refused["remedy"].as_str().unwrap().contains("AIGNOSTICS_REFRESH_TOKEN"), "{refused}");
    let none = finding(&[], "login");
    assert!(none["remedy"].as_str().unwrap().contains("log in"), "{none}");
    // A folder for logins is not needed.
    let folder = finding(
        &[("AIGNOSTICS_ACCESS_TOKEN", &token), ("AIGNOSTICS_CACHE_DIR", "/proc/none")],
        "logins on this machine",
    );
    assert_eq!(folder["remedy"], Value::Null, "{folder}");
}
