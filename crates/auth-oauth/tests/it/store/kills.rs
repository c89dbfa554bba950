//! Refreshes whose process is killed before each system call that touches its files.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use super::processes::{ENDED, Stage};
use super::{get, key};
use crate::traced::can_trace;

#[derive(Debug, PartialEq)]
enum End {
    Killed,
    /// The process exited by itself. The text states if it has a token.
    Itself(String),
}

/// Runs a process under `strace` with these options. It traces the system calls that touch the files of the login.
fn run(stage: &mut Stage, options: &[&str]) -> End {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(options).arg("-P").arg(stage.folder()).stderr(Stdio::null());
    let path = stage.folder().join(key().digest_hex());
    for extension in ["json", "lock", "reserved", "tmp"] {
        strace.arg("-P").arg(path.with_extension(extension));
    }
    strace.arg(std::env::current_exe().unwrap());
    stage.report_end_of(stage.spawn(strace, ""));
    finish(stage)
}

/// Returns every system call of a refresh on the files of the login: its name, and its number among calls of that name.
fn steps() -> Vec<(String, usize)> {
    let calls = NamedTempFile::new().unwrap();
    let end = run(&mut Stage::open(false), &["-o", calls.path().to_str().unwrap()]);
    assert_eq!(end, End::Itself("access-2".to_owned()));
    let mut steps: Vec<(String, usize)> = Vec::new();
    for line in fs::read_to_string(calls.path()).unwrap().lines() {
        let name = line.split_whitespace().nth(1).unwrap().split('(').next().unwrap();
        steps.push((name.to_owned(), 1 + steps.iter().filter(|step| step.0 == name).count()));
    }
    steps
}

/// Responds to a process until it has ended.
fn finish(stage: &mut Stage) -> End {
    let mut end = End::Killed;
    loop {
        let message = stage.next();
        match message.line.split_once(' ').unwrap_or((&message.line, "")) {
            ("ready", _) => message.reply("go"),
            ("redeem", refresh) => {
                let reply = stage.provider.redeem(refresh);
                message.reply(&reply);
            }
            ("login", _) => message.reply("no user"),
            ("end", how) => {
                end = End::Itself(how.to_owned());
                message.reply("bye");
            }
            (ENDED, _) => return end,
            _ => panic!("unexpected line {:?}", message.line),
        }
    }
}

fn next_process(stage: &mut Stage) -> End {
    stage.report_end_of(stage.spawn(Command::new(std::env::current_exe().unwrap()), ""));
    finish(stage)
}

/// Kills one process before each step, and lets another process follow. `check` receives the end of the latter, and the
/// refresh token that was stored in between.
fn kill_at_each_step(has_grace: bool, check: impl Fn(&mut Stage, End, &str)) {
    let mut counts = BTreeMap::new();
    for (name, number) in steps() {
        let mut stage = Stage::open(has_grace);
        let injection = format!("inject={name}:signal=KILL:when={number}");
        assert_eq!(run(&mut stage, &["-o", "/dev/null", "-e", &injection]), End::Killed, "{injection}");
        // The stored login must be complete at every step.
        let kept = get(&stage.store(), &key()).unwrap().refresh_token().unwrap().expose().to_owned();
        *counts.entry((stage.provider.redeemed, kept.clone())).or_insert(0) += 1;
        let next = next_process(&mut stage);
        check(&mut stage, next, &kept);
    }
    // The three states: before the redemption, between redemption and publication, and after the publication.
    let states: Vec<_> = counts.keys().map(|(redeemed, kept)| (*redeemed, kept.as_str())).collect();
    assert_eq!(states, [(0, "refresh-1"), (1, "refresh-1"), (1, "refresh-2")], "{counts:?}");
    assert!(counts.values().all(|&count| count > 5), "{counts:?}");
}

#[test]
fn login_survives_a_kill_at_any_step_with_a_grace_period() {
    if !can_trace() {
        return;
    }
    kill_at_each_step(true, |stage, next, _| {
        assert_eq!(next, End::Itself("access-2".to_owned()));
        assert_eq!(stage.provider.redeemed, 1);
        assert_eq!(get(&stage.store(), &key()).unwrap().refresh_token().unwrap().expose(), "refresh-2");
    });
}

#[test]
fn login_ends_only_if_killed_between_redeem_and_publish() {
    if !can_trace() {
        return;
    }
    kill_at_each_step(false, |stage, next, kept| {
        if stage.provider.replayed == 0 {
            assert_eq!(next, End::Itself("access-2".to_owned()));
            return;
        }
        // The token had been redeemed, and its successor was not stored yet.
        assert_eq!((kept, stage.provider.redeemed, stage.provider.replayed), ("refresh-1", 1, 1));
        assert_eq!(next, End::Itself("refused".to_owned()));
        assert_eq!(get(&stage.store(), &key()), None, "the refused refresh token is deleted");
        assert_eq!(next_process(stage), End::Itself("refused".to_owned()));
        assert_eq!(stage.provider.replayed, 1, "no process redeems it again");
    });
}
