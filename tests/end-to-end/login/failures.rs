//! Logins and refreshes that are interrupted, time out, or cannot be stored.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{UserHome, start_with_automatic_login};
use crate::command::{BINARY, CommandResult, Sandbox};
use crate::emulator::{RunningEmulator, journal};

#[test]
#[cfg(unix)]
fn interrupted_refresh_keeps_the_login() {
    let sandbox = Sandbox::new();
    let config = sandbox.path("config.toml");
    std::fs::write(&config, "automatic_login = true").unwrap();
    let running = RunningEmulator::start(&sandbox, &["--control", "--config", config.to_str().unwrap()]);
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    // The refresh token is already rotated, and the response takes a second.
    home.inject_fault(&json!({ "kind": "bandwidth", "bytes_per_second": 1500 }));

    // The command refreshes the login, because no token is valid for 25 h.
    let mut refreshing = home.command(&["auth", "token", "--min-ttl", "25h"]).stdout(Stdio::null()).spawn().unwrap();
    let request_count = || {
        home.runtime
            .block_on(journal(&running))
            .iter()
            .filter(|entry| entry["path"] == "/oauth/token" && entry["status"] == 200)
            .count()
    };
    while request_count() < 2 {}
    assert!(Command::new("kill").args(["-INT", &refreshing.id().to_string()]).status().unwrap().success());
    assert_eq!(refreshing.wait().unwrap().code(), Some(130));
    home.run(&["auth", "token", "--min-ttl", "1h"]).assert_code(0);
    // The login is refreshed again, with the refresh token that was stored.
    let second_refresh = home.run(&["auth", "token", "--min-ttl", "25h"]);
    assert!(second_refresh.stderr.contains("does not issue tokens that are valid for"), "{}", second_refresh.stderr);
}

/// Returns the kind of the error in the last line of JSON output.
fn error_kind(result: &CommandResult) -> Value {
    let error: Value = serde_json::from_str(result.stderr.trim().lines().next_back().unwrap()).unwrap();
    error["error"]["kind"].clone()
}

#[test]
fn login_fails_after_its_timeout() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    for login_command in [&["login", "--device"][..], &["login", "--no-browser"], &["whoami", "--device"]] {
        let result = home.run(&[&["user"], login_command, &["--timeout", "1s", "--format", "json"]].concat());
        result.assert_code(1);
        assert_eq!(error_kind(&result), "time_out", "{}", result.stderr);
        assert!(result.stderr.starts_with("to log in, open "), "{}", result.stderr);
    }
    home.run(&["auth", "token"]).assert_code(4);
    let login = home.start(&["user", "login", "--device", "--timeout", "10m"]);
    home.approve(&login.line);
    login.succeeded();
}

#[test]
fn timed_out_refresh_keeps_the_login() {
    let sandbox = Sandbox::new();
    let config = sandbox.path("config.toml");
    std::fs::write(&config, "automatic_login = true").unwrap();
    let running = RunningEmulator::start(&sandbox, &["--control", "--config", config.to_str().unwrap()]);
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    // The refresh token is already rotated, and the response takes longer than the command waits.
    home.inject_fault(&json!({ "kind": "bandwidth", "bytes_per_second": 700 }));
    let result = home.run(&["auth", "token", "--min-ttl", "25h", "--timeout", "1s", "--format", "json"]);
    result.assert_code(1);
    assert_eq!(error_kind(&result), "time_out", "{}", result.stderr);
    let second_refresh = home.run(&["auth", "token", "--min-ttl", "25h"]);
    assert!(second_refresh.stderr.contains("does not issue tokens that are valid for"), "{}", second_refresh.stderr);
}

#[test]
fn failed_refresh_keeps_the_token_for_other_processes() {
    let sandbox = Sandbox::new();
    let config = sandbox.path("config.toml");
    std::fs::write(&config, "automatic_login = true").unwrap();
    let running = RunningEmulator::start(&sandbox, &["--control", "--config", config.to_str().unwrap()]);
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    let token = home.run(&["auth", "token"]);
    home.inject_fault(&json!({ "kind": "status", "status": 503 }));
    let longer = home.run(&["auth", "token", "--min-ttl", "25h", "--retry-for", "0s"]);
    longer.assert_code(1);
    assert!(longer.stdout.is_empty() && longer.stderr.contains("503"), "{}", longer.stderr);
    assert_eq!(home.run(&["auth", "token"]).stdout, token.stdout);
}

#[test]
fn failed_logout_is_reported() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    let files = std::fs::read_dir(home.cache().join("logins")).unwrap().map(|file| file.unwrap().path());
    let file = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "json")).unwrap();
    // Logout deletes temporary files of killed writers, but it cannot delete a folder with such a name.
    let obstacle = file.with_extension("tmp");
    std::fs::create_dir(&obstacle).unwrap();
    let logout = home.run(&["user", "logout"]);
    logout.assert_code(1);
    assert!(
        logout.stderr.contains(obstacle.to_str().unwrap()) && !logout.stderr.contains("logged out"),
        "{}",
        logout.stderr
    );
    home.run(&["auth", "token"]).assert_code(0);
    std::fs::remove_dir(&obstacle).unwrap();
    home.run(&["user", "logout"]).assert_code(0);
    home.run(&["auth", "token"]).assert_code(4);
}

#[test]
fn login_that_cannot_be_stored_is_not_started() {
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let result = home.command(&["user", "login", "--no-browser"]).env("AIGNOSTICS_CACHE_DIR", "/proc/nowhere").output();
    let result = CommandResult::of(&result.unwrap());
    result.assert_code(1);
    assert!(result.stderr.contains("/proc/nowhere") && !result.stderr.contains("to log in"), "{}", result.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn login_survives_full_disk() {
    let probe = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        crate::needs::missing("a mount namespace", "allow unprivileged user namespaces (`unshare` uses them)");
        return;
    }
    let sandbox = Sandbox::new();
    let running = start_with_automatic_login(&sandbox);
    let home = UserHome::new(&sandbox, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    std::fs::create_dir(sandbox.path("disk")).unwrap();
    let script = r#"
        set -e; mount -t tmpfs -o size=64k,mode=0700 tmpfs "$disk"; cp -a "$AIGNOSTICS_CACHE_DIR/logins" "$disk"
        dd if=/dev/zero of="$disk/ballast" bs=1k count=64 2>/dev/null || true
        export AIGNOSTICS_CACHE_DIR="$disk"
        "$aignostics" user login --relogin --no-browser && exit 99 || echo "login: $?"
        "$aignostics" auth token >/dev/null && echo "token: $?"
        "$aignostics" user logout && echo "logout: $?"
    "#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).env_clear();
    command.envs(home.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("aignostics", BINARY).env("disk", sandbox.path("disk"));
    let result = CommandResult::of(&command.output().unwrap());
    result.assert_code(0);
    assert_eq!(result.stdout, "login: 1\ntoken: 0\nlogout: 0\n", "{}", result.stderr);
    assert!(result.stderr.contains("free some space") && !result.stderr.contains("to log in"), "{}", result.stderr);
}
