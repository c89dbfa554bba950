//! Failures of every command: the rules that apply to all of them.

use std::collections::BTreeSet;
use std::fs;

use auth_http::Method;
use serde_json::json;

use crate::command::Ended;
use crate::pages::tree;
use crate::shell::Shell;
use crate::slides::write_slide;

/// The commands that use the platform, with valid arguments: `RUN` and `ITEM` are replaced by existing ones.
const ASKING: [&str; 42] = [
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
    "bucket find",
    "bucket uploads list",
    "bucket uploads abort --yes",
    "bucket download **",
    "bucket delete ** --yes",
    "bucket purge --yes",
    "user whoami",
];

/// The commands that use no server, only the provider, or their own platform; and the command that reports the health of the
/// platform.
const OTHERS: [&str; 26] = [
    "api",
    "auth doctor",
    "auth token",
    "completions",
    "demo",
    "emulator",
    "emulator exec",
    "emulator export",
    "man",
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
fn lab() -> (Shell, Vec<Vec<String>>) {
    let shell = Shell::start();
    write_slide(&shell.folder().join("slides/a.tiff"));
    fs::create_dir(shell.folder().join("work")).unwrap();
    shell.run(&["run", "prepare", "tissue", "slides.csv", "slides", "--mapping", ".*:tissue=LUNG"]).assert_code(0);
    let run = shell.submit("outcomes", &["item"]);
    let words = |line: &str| line.split(' ').map(|word| word.replace("RUN", &run).replace("ITEM", "item")).collect();
    let commands = ASKING.iter().map(|line| words(line)).collect();
    (shell, commands)
}

/// Runs all commands in parallel, and returns their outputs in order.
fn each(commands: &[Vec<String>], call: impl Fn(&[&str]) -> String + Sync) -> String {
    let call = |words: &Vec<String>| call(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let share = commands.len().div_ceil(8);
    std::thread::scope(|scope| {
        let shares = commands.chunks(share).map(|share| scope.spawn(|| share.iter().map(call).collect::<String>()));
        shares.collect::<Vec<_>>().into_iter().map(|share| share.join().unwrap()).collect()
    })
}

/// Checks the failure of a command: the exit code of its kind, no output on stdout, and an error with a remedy.
fn told(shell: &Shell, line: &[&str], Ended { code, stdout, stderr }: Ended) -> String {
    assert_eq!(stdout, "", "{line:?}");
    assert!(!stderr.contains("panicked"), "{line:?}: {stderr}");
    let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    shell.redacted(&format!("$ aignostics {}\n{stderr}--- exit code {code}\n", line.join(" ")))
}

#[test]
fn all_commands_are_looked_at() {
    let tree = tree();
    let all: BTreeSet<_> = tree.iter().map(|(words, _)| words.join(" ")).collect();
    let is_group = |name: &str| {
        name.is_empty() || name != "emulator" && all.iter().any(|other| other.starts_with(&format!("{name} ")))
    };
    let known = |name: &str| {
        OTHERS.contains(&name) || ASKING.iter().any(|line| format!("{line} ").starts_with(&format!("{name} ")))
    };
    let leaves = all.iter().filter(|name| !is_group(name) && !name.starts_with("application run "));
    assert_eq!(leaves.filter(|name| !known(name)).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn no_response() {
    let (shell, commands) = lab();
    let told = each(&commands, |line| {
        // The timeout is long enough for all attempts of a call, even on a busy machine.
        let mut command = shell.command(&[line, &["--timeout", "20s"]].concat());
        command
            .env("AIGNOSTICS_API_ROOT", "http://127.0.0.1:9")
            .envs([("AIGNOSTICS_RETRY_FOR", "0"), ("AIGNOSTICS_RETRY_FOR_TRANSFERS", "0")]);
        told(&shell, line, Ended::of(&command.output().unwrap()))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn permission_denied() {
    let (shell, commands) = lab();
    let refuse = json!({ "server": "api", "path": "/api/*", "effect": { "kind": "status", "status": 403 } });
    shell.control(Method::Post, "/faults", &refuse);
    let told = each(&commands, |line| told(&shell, line, shell.run(line)));
    insta::assert_snapshot!(told);
}

#[test]
fn not_logged_in() {
    let (shell, commands) = lab();
    let told = each(&commands, |line| {
        let mut command = shell.command(line);
        command.env_remove("AIGNOSTICS_REFRESH_TOKEN");
        told(&shell, line, Ended::of(&command.output().unwrap()))
    });
    insta::assert_snapshot!(told);
}

#[test]
fn not_found() {
    let (shell, mut commands) = lab();
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
    let told = each(&commands, |line| told(&shell, line, shell.run(line)));
    insta::assert_snapshot!(told);
}

#[test]
fn a_flag_is_none_that_there_is() {
    let (_, mut commands) = lab();
    // The arguments after this one are a command.
    let others = OTHERS.iter().filter(|line| **line != "emulator exec");
    commands.extend(others.map(|line| line.split(' ').map(str::to_owned).collect()));
    for words in commands {
        let ended = Ended::of(
            &std::process::Command::new(crate::command::BINARY).args(&words).arg("--no-such-flag").output().unwrap(),
        );
        ended.assert_code(2);
        assert_eq!(ended.stdout, "", "{words:?}");
        assert!(ended.stderr.starts_with("error: unexpected argument '--no-such-flag' found"), "{}", ended.stderr);
    }
}
