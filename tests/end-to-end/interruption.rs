//! Signals at any time leave no temporary files and no incomplete file under a final name. A later call resumes.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use crate::command::{CommandResult, Sandbox};
use crate::shell::{Shell, assert_conforms};

#[test]
fn interrupted_demo_leaves_complete_files_and_resumes() {
    let reference = Sandbox::new();
    reference.run(&[]).assert_code(0);
    let reference = reference.files();

    let sandbox = Sandbox::new();
    for moment in [
        "[1/8]",
        "path=\"/oauth/device/code\"",
        "[3/8]",
        "[4/8] slide biopsy.tiff",
        "path=\"/emulator-bucket/slides/biopsy.tiff\"",
        "[6/8]",
        "path=\"/platform-files/results/",
    ] {
        stop_demo_at(&sandbox, moment, "INT", 130);
        sandbox.assert_no_leftovers();
        for (file, content) in sandbox.files() {
            assert!(reference[&file] == content, "{file} is incomplete after an interruption at {moment}");
        }
    }
    sandbox.run(&[]).assert_code(0);
    assert!(sandbox.files() == reference);
    sandbox.assert_manifest_is_correct();
}

#[test]
fn terminated_demo_cleans_up() {
    for (signal, code) in [("TERM", 143), ("HUP", 129)] {
        let sandbox = Sandbox::new();
        stop_demo_at(&sandbox, "path=\"/platform-files/results/", signal, code);
        sandbox.assert_no_leftovers();
    }
}

/// Starts the demo, sends the signal as soon as it prints this text, and waits for its end.
fn stop_demo_at(sandbox: &Sandbox, moment: &str, signal: &str, code: i32) {
    let mut child = sandbox.demo(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    // Without a reader, the command soon blocks, so that it does not end before the signal.
    rustix::pipe::fcntl_setpipe_size(&stderr, 4096).unwrap();
    let mut stderr_reader = BufReader::with_capacity(256, stderr);
    let mut line = String::new();
    while !line.contains(moment) {
        line.clear();
        assert_ne!(stderr_reader.read_line(&mut line).unwrap(), 0, "the demo did not print {moment}");
    }
    let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    // The remaining output is read, so that the command does not block.
    let mut rest = String::new();
    stderr_reader.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(code), "stopped at {moment}\n{rest}");
}

#[test]
fn follower_of_a_run_names_the_run_and_how_to_resume_and_cancel() {
    // The run would take ten minutes.
    let shell = Shell::with_config("speed = 1.0\n");
    let run = shell.submit("outcomes", &["a"]);
    for arguments in
        [&["run", "wait", &run][..], &["run", "watch", &run], &["run", "download", &run, "results", "--follow"]]
    {
        for (name, code) in [("INT", 130), ("TERM", 143)] {
            let command = start_follower(&shell, arguments, &run);
            signal(&command, name);
            let result = CommandResult::of(&command.wait_with_output().unwrap());
            result.assert_code(code);
            let resume = format!("resume: aignostics {}", arguments.join(" "));
            let cancel = format!("cancel: aignostics run cancel {run}");
            for part in [&format!("SIG{name}"), "continues on the platform and is billed", &resume, &cancel] {
                assert!(result.stderr.contains(part), "{part} is missing: {}", result.stderr);
            }
            assert_eq!(result.stdout, "", "{arguments:?}");
        }
    }
    let command = start_follower(&shell, &["run", "wait", &run, "--format", "json"], &run);
    signal(&command, "INT");
    let result = CommandResult::of(&command.wait_with_output().unwrap());
    result.assert_code(130);
    let error = serde_json::from_str(&result.stderr).unwrap();
    assert_conforms("error", &error);
    assert!(error["error"]["message"].as_str().unwrap().contains(&run), "{error}");
    shell.run(&["run", "cancel", &run]).assert_code(0);
    shell.run(&["run", "wait", &run]).assert_code(6);
}

/// Starts a command that follows a run, and waits until it has requested the run.
fn start_follower(shell: &Shell, arguments: &[&str], run: &str) -> Child {
    let path = format!("/api/v1/runs/{run}");
    let request_count = shell.served("api", "GET", &path);
    let command = shell.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    shell.wait_until("a request for the run", |shell| shell.served("api", "GET", &path) > request_count);
    command
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn timeout_of_a_follower_names_the_run() {
    let shell = Shell::with_config("speed = 1.0\n");
    let run = shell.submit("outcomes", &["a"]);
    let result = shell.run(&["run", "wait", &run, "--timeout", "1s"]);
    result.assert_code(1);
    for part in ["timed out after 1 s", &run, "resume: aignostics run wait", "cancel: aignostics run cancel"] {
        assert!(result.stderr.contains(part), "{part} is missing: {}", result.stderr);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn signals_ignored_at_startup_stay_ignored() {
    let shell = Shell::with_config("speed = 1.0\n");
    let run = shell.submit("outcomes", &["a"]);
    for arguments in [&["run", "wait", &run][..], &["run", "wait", &run, "--timeout", "1h"]] {
        let mut ignoring = with_ignored_signals(&shell, arguments);
        let request_count = shell.served("api", "GET", "/api/v1/runs/");
        let command = ignoring.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        shell.wait_until("a request for the run", |shell| shell.served("api", "GET", "/api/v1/runs/") > request_count);
        for name in ["HUP", "INT", "QUIT", "TERM"] {
            signal(&command, name);
        }
        // The first handled signal determines the exit code.
        CommandResult::of(&command.wait_with_output().unwrap()).assert_code(143);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn emulator_ignores_signals_that_were_ignored_at_startup() {
    let shell = Shell::start();
    let mut emulator = with_ignored_signals(&shell, &["emulator"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(emulator.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    for name in ["HUP", "INT", "TERM"] {
        signal(&emulator, name);
    }
    assert_eq!(emulator.wait().unwrap().code(), Some(143));

    let script = "echo started; read line; echo $line; grep SigIgn /proc/self/status";
    let exec = ["emulator", "exec", "--", "sh", "-c", script];
    let mut exec = with_ignored_signals(&shell, &exec).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(exec.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    signal(&exec, "HUP");
    signal(&exec, "INT");
    exec.stdin.take().unwrap().write_all(b"still here\n").unwrap();
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("still here\nSigIgn:") && rest.trim_end().ends_with('7'), "{rest}");
    assert_eq!(exec.wait().unwrap().code(), Some(0));
}

/// Returns a command that a shell starts with SIGHUP, SIGINT and SIGQUIT ignored, like `nohup … &`.
#[cfg(target_os = "linux")]
fn with_ignored_signals(shell: &Shell, arguments: &[&str]) -> Command {
    let prepared = shell.command(arguments);
    let mut shell_command = Command::new("sh");
    shell_command.args(["-c", "trap '' HUP INT QUIT; exec \"$0\" \"$@\""]).arg(prepared.get_program()).args(arguments);
    shell_command.env_clear().envs(prepared.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell_command.current_dir(shell.folder()).stdin(Stdio::null());
    shell_command
}

#[cfg(target_os = "linux")]
#[test]
fn completions_and_man_install_no_handlers() {
    use std::os::unix::process::ExitStatusExt;
    let shell = Shell::start();
    for arguments in [&["completions", "bash"][..], &["man"]] {
        // The pipe is full, so the command blocks when it prints.
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let size = rustix::pipe::fcntl_getpipe_size(&reader).unwrap();
        std::fs::File::from(writer.try_clone().unwrap()).write_all(&vec![0; size]).unwrap();
        let mut command = shell.command(arguments).stdout(writer).spawn().unwrap();
        let current_call =
            |child: &Child| std::fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap_or_default();
        // 1 is `write` on x86-64, and 64 on arm64.
        shell.wait_until("a write", |_| {
            ["1 0x1 ", "64 0x1 "].iter().any(|write| current_call(&command).starts_with(write))
        });
        signal(&command, "INT");
        assert_eq!(command.wait().unwrap().signal(), Some(2), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn command_that_reads_from_stdin_ends_at_a_signal() {
    let shell = Shell::start();
    let run = shell.submit("outcomes", &["a"]);
    for arguments in [
        &["run", "submit", "outcomes", "-"][..],
        &["run", "validate", "outcomes", "-"],
        &["run", "update-metadata", &run, "-"],
        &["run", "wait", &run, "--share-token-file", "-"],
        &["api", "POST", "/v1/me", "--body", "-"],
    ] {
        let mut command = shell.command(arguments);
        let mut command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _stdin = command.stdin.take();
        // The main thread must not read, because it handles the signal.
        shell.wait_until("a thread that reads", |_| stdin_readers(&command) == ["reader"]);
        signal(&command, "TERM");
        assert_eq!(command.wait().unwrap().code(), Some(143), "{arguments:?}");
    }
}

/// Returns the names of the threads of a process that read from stdin.
#[cfg(target_os = "linux")]
fn stdin_readers(child: &Child) -> Vec<String> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", child.id())) else { return Vec::new() };
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
    // `read` is 0 on x86-64, and 63 on arm64.
    let call = if cfg!(target_arch = "aarch64") { "63 0x0 " } else { "0 0x0 " };
    let reading = tasks.filter(|task| read(task.join("syscall")).starts_with(call));
    reading.map(|task| read(task.join("comm")).trim().to_owned()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn blocked_command_ends_at_a_second_signal_or_timeout() {
    let shell = Shell::start();
    let fifo = shell.folder().join("roots.pem");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // The command installs its handler before it opens the pipe, and then blocks, because the pipe has no writer.
    let has_handler = |child: &Child| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
        u64::from_str_radix(mask.trim(), 16).unwrap() & 2 != 0
    };
    // Before it starts its command, `bucket exec` handles signals like other commands.
    let exec = ["bucket", "exec", "--ca-cert", "roots.pem", "--", "true"];
    for (arguments, signals, code) in [
        (&["run", "list", "--ca-cert", "roots.pem"][..], &["INT", "INT"][..], 130),
        (&["run", "list", "--ca-cert", "roots.pem"], &["TERM"], 143),
        (&exec, &["INT", "INT"], 130),
        (&exec, &["TERM"], 143),
    ] {
        let mut command = shell.command(arguments);
        let mut command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        shell.wait_until("a handler for SIGINT", |_| has_handler(&command));
        for name in signals {
            signal(&command, name);
        }
        assert_eq!(command.wait().unwrap().code(), Some(code), "{arguments:?} {signals:?}");
    }
}
