//! Commands that end while the login is being refreshed: the new refresh token is stored first.
//!
//! The endpoint redeems the refresh token immediately and responds slowly, so that the old token is already invalid.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::pipe;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use auth_http::{Method, Request};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::aging;
use crate::command::{CommandResult, Sandbox};
use crate::emulator::{RunningEmulator, http, journal};
use crate::login::UserHome;

/// The rate of the token endpoint. Its response takes about one second.
const SLOW_BYTES_PER_SECOND: u32 = 1_000;
/// The maximum time between a signal and the exit. The command waits up to 8 s for a refresh, and a slow machine needs
/// more time.
const REFRESH_EXIT_LIMIT: Duration = Duration::from_secs(60);
/// The maximum time between a signal and the exit without a refresh. It is shorter than the wait for a refresh.
const EXIT_LIMIT: Duration = Duration::from_secs(7);
/// The remaining lifetime of a stale access token. The token is still used, and a refresh starts.
const STALE_MS: i64 = 30_000;
const EXPIRED_MS: i64 = -1_000;
const TOKEN: &str = "/oauth/token";
const ME: &str = "/api/v1/me";

/// A logged-in user.
pub(crate) struct User {
    sandbox: Sandbox,
    running: RunningEmulator,
    runtime: Runtime,
}

impl User {
    pub(crate) fn log_in() -> Self {
        let sandbox = Sandbox::new();
        let config = sandbox.path("config.toml");
        std::fs::write(&config, "automatic_login = true").unwrap();
        let running = RunningEmulator::start(&sandbox, &["--control", "--config", config.to_str().unwrap()]);
        let user = Self { sandbox, running, runtime: Runtime::new().unwrap() };
        let home = user.home();
        let login = home.start(&["user", "login", "--no-browser"]);
        home.visit(&login.line);
        login.succeeded();
        user.control(Method::Delete, "/journal", &json!(null));
        user
    }

    fn home(&self) -> UserHome<'_> {
        UserHome::new(&self.sandbox, &self.running)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home().command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> CommandResult {
        CommandResult::of(&self.command(arguments).output().unwrap())
    }

    /// Lets time pass for the stored login, until its access token expires in `milliseconds`.
    fn expire_in(&self, milliseconds: i64) {
        aging::expire_in(&self.home().cache(), milliseconds);
    }

    pub(crate) fn control(&self, method: Method, path: &str, body: &Value) {
        let control = &self.running.ready["control"];
        let request = Request::new(method, format!("{}{path}", control["url"].as_str().unwrap()).parse().unwrap());
        let request = request.with_header("authorization", format!("Bearer {}", control["token"].as_str().unwrap()));
        let request = request.with_body("application/json", body.to_string());
        assert!(self.runtime.block_on(http().send(request)).unwrap().status() < 300);
    }

    pub(crate) fn inject_fault(&self, server: &str, path: &str, effect: &Value) {
        self.control(Method::Post, "/faults", &json!({ "server": server, "path": path, "effect": effect }));
    }

    /// Makes the token endpoint redeem immediately and respond slowly.
    fn slow_down(&self) {
        self.inject_fault(
            "identity",
            TOKEN,
            &json!({ "kind": "bandwidth", "bytes_per_second": SLOW_BYTES_PER_SECOND }),
        );
    }

    /// Returns the statuses of the responses to requests for this path. The status of a pending request is 0.
    pub(crate) fn statuses(&self, path: &str) -> Vec<Value> {
        let requests = self.runtime.block_on(journal(&self.running));
        requests
            .into_iter()
            .filter(|request| request["path"] == path)
            .map(|request| request["status"].clone())
            .collect()
    }

    /// Waits for a request of the command with this path and status.
    fn await_request(&self, child: &mut Child, path: &str, status: u16) {
        while !self.statuses(path).contains(&json!(status)) {
            assert_eq!(child.try_wait().unwrap(), None, "the command ended before its request for {path}");
        }
    }

    /// Waits for a request of the command with this path and status, or for the end of the command. Returns true in the
    /// first case.
    fn is_requested_before_exit(&self, child: &mut Child, path: &str, status: u16) -> bool {
        loop {
            if self.statuses(path).contains(&json!(status)) {
                return true;
            }
            if child.try_wait().unwrap().is_some() {
                return false;
            }
        }
    }

    /// Checks that the stored refresh token can be redeemed, and that none was redeemed twice.
    pub(crate) fn assert_login_works(&self) {
        self.control(Method::Delete, "/faults", &json!(null));
        // No token is valid for 25 h, so the login is refreshed.
        let refresh = self.run(&["auth", "token", "--min-ttl", "25h"]);
        let refusals: Vec<_> =
            self.statuses(TOKEN).into_iter().filter(|status| *status != 200 && *status != 0).collect();
        assert_eq!(refusals, Vec::<Value>::new(), "the login is lost: {}", refresh.stderr);
        self.run(&["user", "whoami"]).assert_code(0);
        self.run(&["auth", "token"]).assert_code(0);
    }

    /// Holds the lock of the login, like another process that refreshes it.
    fn lock(&self) -> File {
        let login = aging::logins(&self.home().cache()).remove(0);
        let lock = File::options().write(true).open(login.with_extension("lock")).unwrap();
        lock.try_lock().unwrap();
        lock
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Sends SIGTERM and waits for the end of the process. Fails if this takes longer than `limit`.
fn terminate(child: Child, limit: Duration) -> CommandResult {
    let sent_at = Instant::now();
    signal(&child, Signal::TERM);
    let result = CommandResult::of(&child.wait_with_output().unwrap());
    assert!(sent_at.elapsed() < limit, "it took {:?}: {}", sent_at.elapsed(), result.stderr);
    result
}

#[test]
fn command_ends_after_the_refresh_that_it_started() {
    let user = User::log_in();
    user.expire_in(STALE_MS);
    user.slow_down();
    user.run(&["user", "whoami"]).assert_code(0);
    user.assert_login_works();
}

#[test]
fn delay_before_the_redemption_keeps_the_login() {
    let user = User::log_in();
    user.expire_in(STALE_MS);
    user.inject_fault("identity", TOKEN, &json!({ "kind": "latency", "milliseconds": 1000 }));
    user.run(&["user", "whoami"]).assert_code(0);
    user.assert_login_works();
}

#[test]
fn several_commands_end_after_one_refresh() {
    let user = User::log_in();
    user.expire_in(STALE_MS);
    user.slow_down();
    let commands = [&["user", "whoami"][..], &["auth", "token"], &["run", "list"], &["application", "list"]];
    for child in commands.map(|arguments| user.start(arguments)) {
        CommandResult::of(&child.wait_with_output().unwrap()).assert_code(0);
    }
    user.assert_login_works();
}

#[test]
fn sigterm_after_the_work_keeps_the_login() {
    let user = User::log_in();
    user.expire_in(STALE_MS);
    user.slow_down();
    user.inject_fault("api", ME, &json!({ "kind": "latency", "milliseconds": 1000 }));
    let mut child = user.start(&["user", "whoami"]);
    // If the work ends before the refresh is sent, the refresh is canceled, and the signal would come too late.
    if user.is_requested_before_exit(&mut child, TOKEN, 200) {
        let result = terminate(child, REFRESH_EXIT_LIMIT);
        assert!(matches!(result.code, Some(0 | 143)), "{:?}: {}", result.code, result.stderr);
    }
    user.assert_login_works();
}

#[test]
fn sigterm_during_the_work_keeps_the_login() {
    let user = User::log_in();
    for lifetime_ms in [STALE_MS, EXPIRED_MS] {
        user.expire_in(lifetime_ms);
        user.slow_down();
        user.inject_fault("api", ME, &json!({ "kind": "latency", "milliseconds": 60_000 }));
        user.control(Method::Delete, "/journal", &json!(null));
        let mut child = user.start(&["user", "whoami"]);
        user.await_request(&mut child, TOKEN, 200);
        terminate(child, REFRESH_EXIT_LIMIT).assert_code(143);
        user.assert_login_works();
    }
}

/// Sends SIGINT twice to a command whose refresh token was redeemed. The login is not lost.
fn interrupt_twice(user: &User, expires_in_ms: i64, output: impl Into<Stdio>) {
    user.expire_in(expires_in_ms);
    user.slow_down();
    let mut child = user.command(&["user", "whoami"]).stdout(output).spawn().unwrap();
    user.await_request(&mut child, TOKEN, 200);
    signal(&child, Signal::INT);
    signal(&child, Signal::INT);
    CommandResult::of(&child.wait_with_output().unwrap()).assert_code(130);
    user.assert_login_works();
}

#[test]
fn second_sigint_keeps_the_login() {
    interrupt_twice(&User::log_in(), EXPIRED_MS, Stdio::piped());
}

/// The main thread is blocked in a write, so another thread must wait for the refresh.
#[test]
fn second_sigint_keeps_the_login_while_the_output_is_blocked() {
    let (_reader, writer) = pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    while rustix::io::write(&writer, &[b'\n'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::empty()).unwrap();
    interrupt_twice(&User::log_in(), STALE_MS, writer);
}

/// Batch systems announce the end of a job with these signals.
#[test]
fn signals_of_batch_systems_keep_the_login() {
    let user = User::log_in();
    for (number, code) in [(Signal::USR1, 138), (Signal::USR2, 140), (Signal::XCPU, 152), (Signal::ALARM, 142)] {
        user.expire_in(EXPIRED_MS);
        user.slow_down();
        let mut child = user.start(&["user", "whoami"]);
        user.await_request(&mut child, TOKEN, 200);
        signal(&child, number);
        CommandResult::of(&child.wait_with_output().unwrap()).assert_code(code);
        user.assert_login_works();
    }
}

#[test]
fn timeout_keeps_the_login() {
    let user = User::log_in();
    // The first command gets the stale token, the second waits until its timeout.
    for (lifetime_ms, timeout, code) in [(STALE_MS, "60s", 0), (EXPIRED_MS, "1s", 1)] {
        user.expire_in(lifetime_ms);
        user.inject_fault(
            "identity",
            TOKEN,
            &json!({ "kind": "bandwidth", "bytes_per_second": SLOW_BYTES_PER_SECOND / 3 }),
        );
        let result = user.run(&["run", "list", "--timeout", timeout]);
        assert_eq!(result.code, Some(code), "{}", result.stderr);
        user.assert_login_works();
    }
}

#[test]
fn closed_pipe_keeps_the_login() {
    let user = User::log_in();
    for arguments in [&["user", "whoami"][..], &["auth", "token"], &["application", "list"]] {
        user.expire_in(STALE_MS);
        user.slow_down();
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        CommandResult::of(&user.command(arguments).stdout(writer).output().unwrap()).assert_code(0);
        user.assert_login_works();
    }
}

#[test]
fn sigterm_gives_up_a_hanging_token_endpoint_and_warns() {
    let user = User::log_in();
    for (lifetime_ms, arguments) in [(EXPIRED_MS, &["auth", "token"][..]), (STALE_MS, &["user", "whoami"])] {
        user.expire_in(lifetime_ms);
        user.inject_fault("identity", TOKEN, &json!({ "kind": "latency", "milliseconds": 60_000 }));
        user.inject_fault("api", ME, &json!({ "kind": "latency", "milliseconds": 60_000 }));
        user.control(Method::Delete, "/journal", &json!(null));
        let mut child = user.start(arguments);
        user.await_request(&mut child, TOKEN, 0);
        let result = terminate(child, REFRESH_EXIT_LIMIT);
        result.assert_code(143);
        let warnings = result.stderr.lines().filter(|line| line.contains("login may be lost")).count();
        assert_eq!(warnings, 1, "{}", result.stderr);
        user.control(Method::Delete, "/faults", &json!(null));
    }
}

#[test]
fn unstored_refresh_is_exit_code_1_with_a_remedy() {
    let user = User::log_in();
    user.expire_in(EXPIRED_MS);
    user.slow_down();
    let mut child = user.start(&["auth", "token"]);
    user.await_request(&mut child, TOKEN, 200);
    // While the response is in flight, the file of the login is replaced by a folder.
    let login = aging::logins(&user.home().cache()).remove(0);
    std::fs::remove_file(&login).unwrap();
    std::fs::create_dir(&login).unwrap();
    let result = CommandResult::of(&child.wait_with_output().unwrap());
    result.assert_code(1);
    let message = result.error_message();
    assert!(message.contains(login.to_str().unwrap()), "{}", result.stderr);
    assert!(message.contains("could not be stored") && message.contains("log in again"), "{}", result.stderr);
}

#[test]
fn sigterm_cancels_a_refresh_that_waits_for_the_lock() {
    let user = User::log_in();
    user.expire_in(EXPIRED_MS);
    let lock = user.lock();
    let (folder, attempts) = (user.home().cache().join("logins"), inotify::init(CreateFlags::empty()).unwrap());
    inotify::add_watch(&attempts, folder, WatchFlags::OPEN).unwrap();
    let child = user.start(&["user", "whoami"]);
    await_lock_attempt(&attempts);
    terminate(child, EXIT_LIMIT).assert_code(143);
    drop(lock);
    assert_eq!(user.statuses(TOKEN), Vec::<Value>::new());
    user.assert_login_works();
}

/// Waits until a process opens a lock file.
fn await_lock_attempt(attempts: &impl std::os::fd::AsFd) {
    let mut buffer = [const { std::mem::MaybeUninit::uninit() }; 4096];
    let mut events = inotify::Reader::new(attempts, &mut buffer);
    loop {
        let event = events.next().unwrap();
        if event.file_name().is_some_and(|name| name.to_bytes().ends_with(b".lock")) {
            return;
        }
    }
}

#[test]
fn sigterm_cancels_work_and_a_refresh_that_waits_for_the_lock() {
    let user = User::log_in();
    user.expire_in(STALE_MS);
    let lock = user.lock();
    user.inject_fault("api", ME, &json!({ "kind": "latency", "milliseconds": 60_000 }));
    let mut child = user.start(&["user", "whoami"]);
    user.await_request(&mut child, ME, 0);
    terminate(child, EXIT_LIMIT).assert_code(143);
    drop(lock);
    assert_eq!(user.statuses(TOKEN), Vec::<Value>::new());
    user.assert_login_works();
}

#[test]
fn stale_token_is_served_while_another_process_has_the_lock() {
    let user = User::log_in();
    user.expire_in(STALE_MS);
    let lock = user.lock();
    user.run(&["user", "whoami"]).assert_code(0);
    assert_eq!(user.statuses(TOKEN), Vec::<Value>::new());
    drop(lock);
    user.assert_login_works();
}

#[test]
fn auth_token_waits_for_an_unavailable_identity_provider() {
    let user = User::log_in();
    user.expire_in(EXPIRED_MS);
    let unavailable = json!({ "kind": "status", "status": 503 });
    let faults = json!({ "server": "identity", "path": TOKEN, "effect": unavailable, "times": 3 });
    user.control(Method::Post, "/faults", &faults);
    let failed = user.run(&["auth", "token", "--retry-for", "0s"]);
    failed.assert_code(1);
    assert!(failed.stderr.contains("the identity provider is unavailable"), "{}", failed.stderr);
    assert!(!failed.stderr.contains("user login"), "{}", failed.stderr);
    user.run(&["auth", "token"]).assert_code(0);
    assert_eq!(user.statuses(TOKEN), [503, 503, 503, 200]);
}
