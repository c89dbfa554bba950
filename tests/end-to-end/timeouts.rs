//! `--timeout` bounds every command as a whole.

use auth_http::Method;
use serde_json::{Value, json};

use crate::login::UserHome;
use crate::shell::Shell;

/// Makes a server of the emulator respond too late.
fn delay(shell: &Shell, server: &str) {
    let fault = json!({ "effect": { "kind": "latency", "milliseconds": 60_000 }, "server": server });
    shell.control(Method::Post, "/faults", &fault);
}

#[test]
fn timeout_limits_commands_that_use_the_api() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    delay(&shell, "api");
    for arguments in [
        &["run", "list"][..],
        &["run", "describe", &run],
        &["run", "cancel", &run],
        &["run", "dump-metadata", &run],
        &["run", "share", "status", &run],
        &["application", "list"],
        &["user", "whoami"],
        &["auth", "doctor"],
    ] {
        let error = shell.error(1, &[arguments, &["--timeout", "1s"]].concat());
        assert_eq!(error["kind"], "time_out", "{arguments:?}: {error:#}");
    }
}

#[test]
fn timeout_limits_commands_that_use_the_identity_provider() {
    let shell = Shell::with_config("automatic_login = true\n");
    let home = UserHome::new(&shell.sandbox, &shell.running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    delay(&shell, "identity");
    for arguments in [&["auth", "doctor"][..], &["user", "logout"]] {
        let result = home.run(&[arguments, &["--timeout", "1s", "--format", "json"]].concat());
        result.assert_code(1);
        let error: Value = serde_json::from_str(result.stderr.trim().lines().next_back().unwrap()).unwrap();
        assert_eq!(error["error"]["kind"], "time_out", "{arguments:?}: {error:#}");
    }
}
