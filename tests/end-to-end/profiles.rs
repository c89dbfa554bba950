//! Profiles, the settings file, and the forms of a token.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::command::Ended;
use crate::credentials::Machine;

/// Writes the profiles of a machine.
fn profiles(machine: &Machine, text: &str) -> std::path::PathBuf {
    let folder = machine.shell.folder().join(".aignostics");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let path = folder.join("profiles.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    path
}

fn config(machine: &Machine, variables: &[(&str, &str)], arguments: &[&str]) -> Value {
    let ended = machine.run(variables, &[&["system", "config", "--format", "json"], arguments].concat());
    ended.assert_code(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn profile_sets_what_the_environment_does_not() {
    let machine = Machine::start();
    let file = machine.write("token", &machine.token(), 0o600);
    let text = format!(
        "[lab]\norganization = \"org_lab\"\ntoken_file = \"{file}\"\nrun_timeout = 7\nca_cert = []\n\
         [command]\ntoken_command = [\"cat\", \"{file}\"]\n[staging]\nenvironment = \"staging\"\n"
    );
    let path = profiles(&machine, &text);
    for (variables, arguments) in [
        (&[("AIGNOSTICS_PROFILE", "lab")][..], &[][..]),
        (&[], &["--profile", "lab"]),
        (&[("AIGNOSTICS_PROFILE", "none")], &["--profile", "lab"]),
    ] {
        let config = config(&machine, variables, arguments);
        let settings = &config["settings"];
        assert_eq!(settings["organization_id"], "org_lab");
        assert_eq!(settings["credential"]["source"], "token file");
        assert_eq!(settings["credential"]["level"], "profile 'lab'");
        assert_eq!((&settings["profile"], &settings["operations"]["run"]["timeout"]), (&"lab".into(), &7.0.into()));
    }
    let overriding =
        config(&machine, &[("AIGNOSTICS_RUN_TIMEOUT", "8"), ("AIGNOSTICS_ACCESS_TOKEN", "x")], &["--profile", "lab"]);
    assert_eq!(overriding["settings"]["operations"]["run"]["timeout"], 8.0);
    assert_eq!(overriding["settings"]["credential"]["name"], "AIGNOSTICS_ACCESS_TOKEN");
    let plain = config(&machine, &[], &[]);
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
    let path = profiles(&machine, "[lab]\nrun_timeout = 7\n");
    let refused = |said: &str| {
        let ended = machine.run(&[], &["system", "config", "--profile", "lab"]);
        ended.assert_code(2);
        assert!(ended.stderr.contains(said) && !ended.stderr.contains("canary"), "{}", ended.stderr);
    };
    for changed in [&path, path.parent().unwrap()] {
        let before = fs::metadata(changed).unwrap().permissions();
        fs::set_permissions(changed, Permissions::from_mode(before.mode() | 0o020)).unwrap();
        refused("other users can change");
        fs::set_permissions(changed, before).unwrap();
    }
    for (text, said) in [
        ("[lab]\nrefresh_token = \"canary\"\n", "'refresh_token' in profile 'lab' must not be in a profile"),
        ("[lab]\nno_such = \"canary\"\n", "is not a known setting"),
        ("[lab]\nproxy = \"http://u:canary@p.test\"\n", "must not contain a user"),
        ("[lab]\nenvironment = \"canary\"\n", "must be production, staging, dev or test"),
        ("[lab]\n\nx = canary\n", "line 3 is not valid TOML"),
        ("access_token = \"canary\"\n", "is not in a profile"),
        ("[other]\n", "no profile 'lab'"),
    ] {
        profiles(&machine, text);
        refused(said);
    }
    fs::remove_file(path).unwrap();
    refused("no profile 'lab'");
}

#[test]
fn settings_file_is_edited() {
    let machine = Machine::start();
    let run = |arguments: &[&str]| machine.run(&[], &[&["system", "config"], arguments].concat());
    run(&["set", "run_timeout", "7"]).assert_code(0);
    assert_eq!(run(&["get", "AIGNOSTICS_RUN_TIMEOUT"]).stdout, "7\n");
    assert_eq!(config(&machine, &[], &[])["settings"]["operations"]["run"]["timeout"], 7.0);
    let refused = run(&["set", "access_token", "canary"]);
    refused.assert_code(2);
    assert!(refused.stderr.contains("is a secret") && !refused.stderr.contains("canary"), "{}", refused.stderr);
    run(&["unset", "run_timeout"]).assert_code(0);
    run(&["get", "run_timeout"]).assert_code(2);
}

#[test]
fn token_has_the_forms_of_other_tools_and_is_understood_again() {
    let machine = Machine::start();
    let token = machine.token();
    for (form, member) in [("exec-credential", "/status/token"), ("google", "/id_token"), ("aws", "/SessionToken")] {
        let ended = machine.run(&[("AIGNOSTICS_ACCESS_TOKEN", &token)], &["auth", "token", "--format", form]);
        ended.assert_code(0);
        let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(printed.pointer(member), Some(&json!(token)), "{form}");
        let file = machine.write("printed", &ended.stdout, 0o600);
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
        Ended::of(&child.wait_with_output().unwrap())
    };
    log_in("").assert_code(2);
    let wrong = log_in("canary-canary");
    wrong.assert_code(4);
    assert!(!wrong.stderr.contains("canary"), "{}", wrong.stderr);
    let said = log_in(&format!("{secret}\n"));
    said.assert_code(0);
    assert!(said.stderr.contains("logged in as Ada Emulator") && !said.stderr.contains(&secret), "{}", said.stderr);
    machine.run(&[], &["user", "whoami"]).assert_code(0);
}

#[test]
fn doctor_names_the_provider_and_examines_it() {
    let machine = Machine::start();
    let file = machine.write("token", &machine.token(), 0o600);
    let findings = |variables: &[(&str, &str)], code: i32| {
        let ended = machine.run(variables, &["auth", "doctor", "--format", "json"]);
        ended.assert_code(code);
        serde_json::from_str::<Vec<Value>>(&ended.stdout).unwrap()
    };
    let found = findings(&[("AIGNOSTICS_ACCESS_TOKEN_FILE", &file)], 0);
    let detail = |name: &str| {
        let finding =
            found.iter().find(|finding| finding["name"] == name).unwrap_or_else(|| panic!("{name}: {found:#?}"));
        finding["detail"].as_str().unwrap().to_owned()
    };
    assert!(detail("credential").contains("token file, named by AIGNOSTICS_ACCESS_TOKEN_FILE (from the environment)"));
    assert!(detail("token file").contains("min left, after"));
    assert!(detail("access to the platform").contains("auth0|emulator-1"));
    assert!(detail("status page").starts_with("http://"));
    let found = findings(&[("AIGNOSTICS_TOKEN_COMMAND", "false")], 1);
    let failed = found.iter().find(|finding| finding["name"] == "token command").unwrap();
    assert!(failed["detail"].as_str().unwrap().contains("exit code 1"), "{failed}");
}
