//! Wrong clocks and retired keys during the refresh of a login.
#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};

use auth_http::Method;
use serde_json::json;

use crate::command::CommandResult;
use crate::needs::{has, missing};
use crate::refresh::User;

const TOKEN: &str = "/oauth/token";

/// Returns the library that shifts the clock of a process, or `None` if it is not installed.
pub(crate) fn faketime() -> Option<String> {
    if !has("faketime") {
        missing("faketime", "install the package `faketime`");
        return None;
    }
    let library = Command::new("faketime").args(["-f", "+0s", "printenv", "LD_PRELOAD"]).output().unwrap();
    Some(String::from_utf8(library.stdout).unwrap().trim().to_owned())
}

/// Runs a command with a shifted clock.
fn run_at(user: &User, library: &str, offset: &str, arguments: &[&str]) -> CommandResult {
    let mut command = user.command(arguments);
    command.env("LD_PRELOAD", library).env("FAKETIME", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    CommandResult::of(&command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn wrong_clock_keeps_the_login() {
    let Some(library) = faketime() else { return };
    for offset in ["-90s", "-5m", "-1d", "+90s", "+5m", "+1d"] {
        let user = User::log_in();
        // No token is valid that long, so the login is refreshed.
        run_at(&user, &library, offset, &["auth", "token", "--min-ttl", "60h"]);
        let refresh_statuses = user.statuses(TOKEN);
        assert_eq!(refresh_statuses, [json!(200)], "{offset}: the wrong clock causes a refresh");
        run_at(&user, &library, offset, &["user", "whoami"]).assert_code(0);
        user.assert_login_works();
    }
}

/// According to the corrected clock, the token expires in a month.
#[test]
fn token_obtained_by_a_fast_clock_is_refreshed_after_the_correction() {
    let Some(library) = faketime() else { return };
    let user = User::log_in();
    run_at(&user, &library, "+30d", &["auth", "token", "--min-ttl", "60h"]);
    user.control(Method::Post, "/clock", &json!({ "seconds": 25 * 3600 }));
    let before = user.statuses(TOKEN).len();
    run_at(&user, &library, "+25h", &["auth", "token"]).assert_code(0);
    assert_eq!(user.statuses(TOKEN).len(), before + 1, "the token has expired");
    user.assert_login_works();
}

#[test]
fn wrong_clock_is_named_with_its_difference() {
    let Some(library) = faketime() else { return };
    let user = User::log_in();
    let result = run_at(&user, &library, "-1d", &["auth", "token", "--min-ttl", "60h"]);
    assert!(result.stderr.contains("behind the clock of the identity provider"), "{}", result.stderr);
}

#[test]
fn whoami_works_after_the_keys_were_retired() {
    let user = User::log_in();
    user.control(Method::Post, "/keys", &json!({ "retire": true }));
    user.run(&["user", "whoami"]).assert_code(0);
    user.assert_login_works();
}

#[test]
fn login_survives_a_provider_whose_clock_moves_by_a_day() {
    let user = User::log_in();
    user.control(Method::Post, "/clock", &json!({ "seconds": 25 * 3600 }));
    user.run(&["user", "whoami"]).assert_code(0);
    user.run(&["run", "list"]).assert_code(0);
    user.assert_login_works();
}

#[test]
fn keys_that_cannot_be_fetched_keep_the_login() {
    let user = User::log_in();
    user.control(Method::Post, "/keys", &json!({ "retire": true }));
    user.control(Method::Delete, "/journal", &json!(null));
    let unavailable = json!({ "kind": "status", "status": 503 });
    user.inject_fault("identity", "/.well-known/jwks.json", &unavailable);
    let result = user.run(&["auth", "token", "--min-ttl", "60h"]);
    assert_ne!(result.code, Some(0), "{}", result.stderr);
    user.control(Method::Delete, "/faults", &json!(null));
    user.assert_login_works();
}
