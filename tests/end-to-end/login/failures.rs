//! Logins and refreshes that are interrupted, time out, or cannot be stored.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Home, automatic};
use crate::command::{BINARY, Ended, Lab};
use crate::emulator::{Running, journal};

#[test]
#[cfg(unix)]
fn interrupted_refresh_keeps_the_login() {
    let lab = Lab::new();
    let config = lab.path("config.toml");
    std::fs::write(&config, "automatic_login = true").unwrap();
    let running = Running::start(&lab, &["--control", "--config", config.to_str().unwrap()]);
    let home = Home::new(&lab, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    // The refresh token is already rotated, and the response takes a second.
    home.disturb(&json!({ "kind": "bandwidth", "bytes_per_second": 1500 }));

    // It refreshes the login, because no token is valid that long.
    let mut renewing = home.command(&["auth", "token", "--min-ttl", "25h"]).stdout(Stdio::null()).spawn().unwrap();
    let asked = || {
        home.runtime
            .block_on(journal(&running))
            .iter()
            .filter(|entry| entry["path"] == "/oauth/token" && entry["status"] == 200)
            .count()
    };
    while asked() < 2 {}
    assert!(Command::new("kill").args(["-INT", &renewing.id().to_string()]).status().unwrap().success());
    assert_eq!(renewing.wait().unwrap().code(), Some(130));
    home.run(&["auth", "token", "--min-ttl", "1h"]).assert_code(0);
    // The login is refreshed again, with the refresh token that was stored.
    let renewed = home.run(&["auth", "token", "--min-ttl", "25h"]);
    assert!(renewed.stderr.contains("does not issue tokens that are valid for"), "{}", renewed.stderr);
}

/// Returns the kind of the error in the last line of JSON output.
fn kind(ended: &Ended) -> Value {
    let error: Value = serde_json::from_str(ended.stderr.trim().lines().next_back().unwrap()).unwrap();
    error["error"]["kind"].clone()
}

#[test]
fn a_login_ends_when_its_time_is_over() {
    let lab = Lab::new();
    let running = automatic(&lab);
    let home = Home::new(&lab, &running);
    for way in [&["login", "--device"][..], &["login", "--no-browser"], &["whoami", "--device"]] {
        let ended = home.run(&[&["user"], way, &["--timeout", "1s", "--format", "json"]].concat());
        ended.assert_code(1);
        assert_eq!(kind(&ended), "time_out", "{}", ended.stderr);
        assert!(ended.stderr.starts_with("to log in, open "), "{}", ended.stderr);
    }
    home.run(&["auth", "token"]).assert_code(4);
    let login = home.start(&["user", "login", "--device", "--timeout", "10m"]);
    home.approve(&login.line);
    login.succeeded();
}

#[test]
fn timed_out_refresh_keeps_the_login() {
    let lab = Lab::new();
    let config = lab.path("config.toml");
    std::fs::write(&config, "automatic_login = true").unwrap();
    let running = Running::start(&lab, &["--control", "--config", config.to_str().unwrap()]);
    let home = Home::new(&lab, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    // The refresh token is already rotated, and the response takes longer than the command waits.
    home.disturb(&json!({ "kind": "bandwidth", "bytes_per_second": 700 }));
    let ended = home.run(&["auth", "token", "--min-ttl", "25h", "--timeout", "1s", "--format", "json"]);
    ended.assert_code(1);
    assert_eq!(kind(&ended), "time_out", "{}", ended.stderr);
    let renewed = home.run(&["auth", "token", "--min-ttl", "25h"]);
    assert!(renewed.stderr.contains("does not issue tokens that are valid for"), "{}", renewed.stderr);
}

#[test]
fn a_token_that_could_not_be_replaced_stays_for_others() {
    let lab = Lab::new();
    let config = lab.path("config.toml");
    std::fs::write(&config, "automatic_login = true").unwrap();
    let running = Running::start(&lab, &["--control", "--config", config.to_str().unwrap()]);
    let home = Home::new(&lab, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    let token = home.run(&["auth", "token"]);
    home.disturb(&json!({ "kind": "status", "status": 503 }));
    let longer = home.run(&["auth", "token", "--min-ttl", "25h", "--retry-for", "0s"]);
    longer.assert_code(1);
    assert!(longer.stdout.is_empty() && longer.stderr.contains("503"), "{}", longer.stderr);
    assert_eq!(home.run(&["auth", "token"]).stdout, token.stdout);
}

#[test]
fn failed_logout_is_reported() {
    let lab = Lab::new();
    let running = automatic(&lab);
    let home = Home::new(&lab, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    let files = std::fs::read_dir(home.cache().join("logins")).unwrap().map(|file| file.unwrap().path());
    let file = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "json")).unwrap();
    // A folder with the temporary name of a killed writer cannot be deleted like a file.
    let obstacle = file.with_extension("tmp");
    std::fs::create_dir(&obstacle).unwrap();
    let out = home.run(&["user", "logout"]);
    out.assert_code(1);
    assert!(out.stderr.contains(obstacle.to_str().unwrap()) && !out.stderr.contains("logged out"), "{}", out.stderr);
    home.run(&["auth", "token"]).assert_code(0);
    std::fs::remove_dir(&obstacle).unwrap();
    home.run(&["user", "logout"]).assert_code(0);
    home.run(&["auth", "token"]).assert_code(4);
}

#[test]
fn login_that_cannot_be_stored_is_not_started() {
    let lab = Lab::new();
    let running = automatic(&lab);
    let home = Home::new(&lab, &running);
    let ended = home.command(&["user", "login", "--no-browser"]).env("AIGNOSTICS_CACHE_DIR", "/proc/nowhere").output();
    let ended = Ended::of(&ended.unwrap());
    ended.assert_code(1);
    assert!(ended.stderr.contains("/proc/nowhere") && !ended.stderr.contains("to log in"), "{}", ended.stderr);
}

#[test]
#[cfg(target_os = "linux")]
fn login_survives_full_disk() {
    let probe = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        crate::needs::missing("a mount namespace", "allow unprivileged user namespaces (`unshare` uses them)");
        return;
    }
    let lab = Lab::new();
    let running = automatic(&lab);
    let home = Home::new(&lab, &running);
    let login = home.start(&["user", "login", "--no-browser"]);
    home.visit(&login.line);
    login.succeeded();
    std::fs::create_dir(lab.path("disk")).unwrap();
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
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("aignostics", BINARY).env("disk", lab.path("disk"));
    let ended = Ended::of(&command.output().unwrap());
    ended.assert_code(0);
    assert_eq!(ended.stdout, "login: 1\ntoken: 0\nlogout: 0\n", "{}", ended.stderr);
    assert!(ended.stderr.contains("free some space") && !ended.stderr.contains("to log in"), "{}", ended.stderr);
}
