//! Failures of every command: exit code, message and remedy.

use std::collections::BTreeSet;
use std::fs;

use auth_http::Method;
use serde_json::json;

use crate::command::CommandResult;
use crate::help_pages::all_commands;
use crate::shell::Shell;
use crate::slides::write_slide;

/// The commands that use the platform, with valid arguments. `RUN` and `ITEM` are replaced by existing ones.
const PLATFORM_COMMANDS: [&str; 46] = [
    "application list",
    "application describe tissue",
    "application version list tissue",
    "application version describe tissue 1.0.0",
    "application version document list tissue",
    "application version document describe tissue user-guide.md",
    "application version document download tissue user-guide.md --output papers",
    "application dump-schemata tissue --destination schemata",
    "run prepare tissue new.csv slides",
    "run validate tissue slides.csv",
    "run upload tissue slides.csv",
    "run submit tissue slides.csv",
    "run execute tissue work/slides.csv slides",
    "run list",
    "run describe RUN",
    "run wait RUN",
    "run watch RUN",
    "run cancel RUN",
    "run cancel-by-filter --application-id tissue --yes",
    "run download RUN results",
    "run sync synced",
    "run result download RUN results",
    "run result delete RUN --yes",
    "run dump-metadata RUN",
    "run update-metadata RUN {}",
    "run dump-item-metadata RUN ITEM",
    "run update-item-metadata RUN ITEM {}",
    "run share status RUN",
    "run share audit RUN",
    "run share organization list RUN",
    "run share organization grant RUN org-2",
    "run share organization revoke RUN org-2",
    "run share token list RUN",
    "run share token create RUN",
    "run share token revoke RUN token-1",
    "bucket upload slides",
    "bucket copy s3://bucket/x y",
    "bucket find",
    "bucket uploads list",
    "bucket uploads abort --yes",
    "bucket download **",
    "bucket delete ** --yes",
    "bucket purge --yes",
    "bucket credentials --for rclone",
    "bucket exec -- true",
    "user whoami",
];

/// The other commands. They use no server, only the identity provider or their own platform, or they report the health
/// of the platform.
const OTHER_COMMANDS: [&str; 28] = [
    "api",
    "auth doctor",
    "auth token",
    "completions",
    "demo",
    "emulator",
    "emulator exec",
    "emulator export",
    "man",
    "mcp config",
    "mcp serve",
    "profile list",
    "profile path",
    "profile show",
    "run clean",
    "run forget",
    "run verify",
    "sdk item-metadata-schema",
    "sdk run-metadata-schema",
    "slide inspect",
    "system config",
    "system config get",
    "system config set",
    "system config unset",
    "system health",
    "system info",
    "user login",
    "user logout",
];

/// Returns a platform with a run and a table, and the commands with their arguments.
fn platform_with_run() -> (Shell, Vec<Vec<String>>) {
    let shell = Shell::start();
    write_slide(&shell.folder().join("slides/a.tiff"));
    fs::create_dir(shell.folder().join("work")).unwrap();
    shell.run(&["run", "prepare", "tissue", "slides.csv", "slides", "--mapping", ".*:tissue=LUNG"]).assert_code(0);
    let run = shell.submit("outcomes", &["item"]);
    let words = |line: &str| line.split(' ').map(|word| word.replace("RUN", &run).replace("ITEM", "item")).collect();
    let commands = PLATFORM_COMMANDS.iter().map(|line| words(line)).collect();
    (shell, commands)
}

/// Runs all commands in parallel, and returns their outputs in order.
fn run_all(commands: &[Vec<String>], call: impl Fn(&[&str]) -> String + Sync) -> String {
    let call = |words: &Vec<String>| call(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let chunk_size = commands.len().div_ceil(8);
    std::thread::scope(|scope| {
        let threads =
            commands.chunks(chunk_size).map(|chunk| scope.spawn(|| chunk.iter().map(call).collect::<String>()));
        threads.collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Returns the output of a failed command. Asserts that it prints nothing on stdout.
fn failure_report(shell: &Shell, line: &[&str], CommandResult { code, stdout, stderr }: CommandResult) -> String {
    assert_eq!(stdout, "", "{line:?}");
    assert!(!stderr.contains("panicked"), "{line:?}: {stderr}");
    let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    shell.redacted(&format!("$ aignostics {}\n{stderr}--- exit code {code}\n", line.join(" ")))
}

#[test]
fn every_command_is_listed() {
    let tree = all_commands();
    let all: BTreeSet<_> = tree.iter().map(|(words, _)| words.join(" ")).collect();
    let is_group = |name: &str| {
        name.is_empty() || name != "emulator" && all.iter().any(|other| other.starts_with(&format!("{name} ")))
    };
    let is_known = |name: &str| {
        OTHER_COMMANDS.contains(&name)
            || PLATFORM_COMMANDS.iter().any(|line| format!("{line} ").starts_with(&format!("{name} ")))
    };
    let leaves = all.iter().filter(|name| !is_group(name) && !name.starts_with("application run "));
    assert_eq!(leaves.filter(|name| !is_known(name)).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn unreachable_platform_is_reported_by_every_command() {
    let (shell, commands) = platform_with_run();
    let reports = run_all(&commands, |line| {
        // The timeout is long enough for all attempts of a call, even on a busy machine.
        let mut command = shell.command(&[line, &["--timeout", "20s"]].concat());
        command
            .env("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9")
            .envs([("AIGNOSTICS_RETRY_FOR", "0"), ("AIGNOSTICS_RETRY_FOR_TRANSFERS", "0")]);
        failure_report(&shell, line, CommandResult::of(&command.output().unwrap()))
    });
    insta::assert_snapshot!(reports);
}

#[test]
fn denied_permission_is_reported_by_every_command() {
    let (shell, commands) = platform_with_run();
    let refuse = json!({ "server": "api", "path": "/api/*", "effect": { "kind": "status", "status": 403 } });
    shell.control(Method::Post, "/faults", &refuse);
    let reports = run_all(&commands, |line| failure_report(&shell, line, shell.run(line)));
    insta::assert_snapshot!(reports);
}

#[test]
fn missing_login_is_reported_by_every_command() {
    let (shell, commands) = platform_with_run();
    let reports = run_all(&commands, |line| {
        let mut command = shell.command(line);
        command.env_remove("AIGNOSTICS_REFRESH_TOKEN");
        failure_report(&shell, line, CommandResult::of(&command.output().unwrap()))
    });
    insta::assert_snapshot!(reports);
}

#[test]
fn missing_resource_is_reported_by_every_command() {
    let (shell, mut commands) = platform_with_run();
    for words in &mut commands {
        for word in words {
            if word == "tissue" {
                "nothing".clone_into(word);
            } else if word.len() == 36 {
                "00000000-0000-4000-8000-000000000000".clone_into(word);
            }
        }
    }
    commands.retain(|words| words.iter().any(|word| word == "nothing" || word.len() == 36));
    let reports = run_all(&commands, |line| failure_report(&shell, line, shell.run(line)));
    insta::assert_snapshot!(reports);
}

#[test]
fn unknown_flag_is_refused() {
    let (_, mut commands) = platform_with_run();
    // The arguments of `bucket exec` are a command of their own.
    commands.retain(|words| words[..2] != ["bucket", "exec"]);
    let others = OTHER_COMMANDS.iter().filter(|line| **line != "emulator exec");
    commands.extend(others.map(|line| line.split(' ').map(str::to_owned).collect()));
    for words in commands {
        let result = CommandResult::of(
            &std::process::Command::new(crate::command::BINARY).args(&words).arg("--no-such-flag").output().unwrap(),
        );
        result.assert_code(2);
        assert_eq!(result.stdout, "", "{words:?}");
        assert!(result.stderr.starts_with("error: unexpected argument '--no-such-flag' found"), "{}", result.stderr);
    }
}
