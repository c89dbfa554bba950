//! Refreshes whose process is killed before one of the system calls on its files. Each system call is tested.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use super::processes::{ChildController, ENDED};
use super::{get, key};
use crate::traced::can_trace;

#[derive(Debug, PartialEq)]
enum ProcessEnd {
    Killed,
    /// The process exited. The text is the token of the process, or the reason why it has none.
    Exited(String),
}

/// Runs a process under `strace` with these options. It traces the system calls that touch the files of the login.
fn run(controller: &mut ChildController, options: &[&str]) -> ProcessEnd {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(options).arg("-P").arg(controller.folder()).stderr(Stdio::null());
    let path = controller.folder().join(key().digest_hex());
    for extension in ["json", "lock", "reserved", "tmp"] {
        strace.arg("-P").arg(path.with_extension(extension));
    }
    strace.arg(std::env::current_exe().unwrap());
    controller.report_end_of(controller.spawn(strace, ""));
    respond_until_end(controller)
}

/// Returns the system calls of a refresh on the files of the login. Each call has a name, and its number among the calls
/// with that name.
fn system_calls() -> Vec<(String, usize)> {
    let calls = NamedTempFile::new().unwrap();
    let end = run(&mut ChildController::open(false), &["-o", calls.path().to_str().unwrap()]);
    assert_eq!(end, ProcessEnd::Exited("access-2".to_owned()));
    let mut steps: Vec<(String, usize)> = Vec::new();
    for line in fs::read_to_string(calls.path()).unwrap().lines() {
        let name = line.split_whitespace().nth(1).unwrap().split('(').next().unwrap();
        steps.push((name.to_owned(), 1 + steps.iter().filter(|step| step.0 == name).count()));
    }
    steps
}

/// Responds to the messages of a process until it has ended.
fn respond_until_end(controller: &mut ChildController) -> ProcessEnd {
    let mut end = ProcessEnd::Killed;
    loop {
        let message = controller.next();
        match message.line.split_once(' ').unwrap_or((&message.line, "")) {
            ("ready", _) => message.reply("go"),
            ("redeem", refresh_token) => {
                let reply = controller.provider.redeem(refresh_token);
                message.reply(&reply);
            }
            ("login", _) => message.reply("no user"),
            ("end", outcome) => {
                end = ProcessEnd::Exited(outcome.to_owned());
                message.reply("bye");
            }
            (ENDED, _) => return end,
            _ => panic!("unexpected line {:?}", message.line),
        }
    }
}

fn run_next_process(controller: &mut ChildController) -> ProcessEnd {
    controller.report_end_of(controller.spawn(Command::new(std::env::current_exe().unwrap()), ""));
    respond_until_end(controller)
}

/// For each system call of a refresh, kills a process before the call, and then runs another process. `check` receives
/// the end of the second process, and the refresh token that was stored when the first process was killed.
fn kill_at_each_step(has_grace_period: bool, check: impl Fn(&mut ChildController, ProcessEnd, &str)) {
    let mut counts = BTreeMap::new();
    for (name, number) in system_calls() {
        let mut controller = ChildController::open(has_grace_period);
        let injection = format!("inject={name}:signal=KILL:when={number}");
        assert_eq!(run(&mut controller, &["-o", "/dev/null", "-e", &injection]), ProcessEnd::Killed, "{injection}");
        // The stored login must be complete at every step.
        let stored_refresh_token =
            get(&controller.store(), &key()).unwrap().refresh_token().unwrap().expose().to_owned();
        *counts.entry((controller.provider.redemption_count, stored_refresh_token.clone())).or_insert(0) += 1;
        let next_end = run_next_process(&mut controller);
        check(&mut controller, next_end, &stored_refresh_token);
    }
    // The three states: before the redemption, between redemption and publication, and after the publication.
    let states: Vec<_> = counts
        .keys()
        .map(|(redemption_count, stored_refresh_token)| (*redemption_count, stored_refresh_token.as_str()))
        .collect();
    assert_eq!(states, [(0, "refresh-1"), (1, "refresh-1"), (1, "refresh-2")], "{counts:?}");
    assert!(counts.values().all(|&count| count > 5), "{counts:?}");
}

#[test]
fn login_survives_a_kill_at_any_step_with_a_grace_period() {
    if !can_trace() {
        return;
    }
    kill_at_each_step(true, |controller, next_end, _| {
        assert_eq!(next_end, ProcessEnd::Exited("access-2".to_owned()));
        assert_eq!(controller.provider.redemption_count, 1);
        assert_eq!(get(&controller.store(), &key()).unwrap().refresh_token().unwrap().expose(), "refresh-2");
    });
}

#[test]
fn login_ends_only_if_killed_between_redeem_and_publish() {
    if !can_trace() {
        return;
    }
    kill_at_each_step(false, |controller, next_end, stored_refresh_token| {
        if controller.provider.reuse_count == 0 {
            assert_eq!(next_end, ProcessEnd::Exited("access-2".to_owned()));
            return;
        }
        // The token had been redeemed, and its successor was not stored yet.
        assert_eq!(
            (stored_refresh_token, controller.provider.redemption_count, controller.provider.reuse_count),
            ("refresh-1", 1, 1)
        );
        assert_eq!(next_end, ProcessEnd::Exited("refused".to_owned()));
        assert_eq!(get(&controller.store(), &key()), None, "the refused refresh token is deleted");
        assert_eq!(run_next_process(controller), ProcessEnd::Exited("refused".to_owned()));
        assert_eq!(controller.provider.reuse_count, 1, "no process redeems it again");
    });
}
