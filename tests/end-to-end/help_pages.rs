//! The documentation of the command: `--help`, manual pages, and `docs/cli.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{BINARY, CommandResult};
use crate::needs;

fn run(arguments: &[&str]) -> CommandResult {
    // With this width, descriptions are not wrapped.
    CommandResult::of(&Command::new(BINARY).args(arguments).env("COLUMNS", "1000").output().unwrap())
}

/// Returns every command with the output of its `--help`.
pub(crate) fn all_commands() -> Vec<(Vec<String>, String)> {
    let (mut commands, mut pending) = (Vec::new(), vec![Vec::<String>::new()]);
    while let Some(words) = pending.pop() {
        let mut arguments: Vec<_> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let result = run(&arguments);
        result.assert_code(0);
        assert_eq!(result.stderr, "", "{words:?}");
        for name in subcommands(&result.stdout) {
            pending.push(words.iter().cloned().chain([name]).collect());
        }
        commands.push((words, result.stdout));
    }
    commands
}

/// Returns the names of the subcommands, which may be in groups before the arguments and options.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Usage: ")).skip(1);
    let lines = lines.take_while(|line| !matches!(*line, "Arguments:" | "Options:"));
    // Continuation lines have a larger indentation.
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Returns the options and arguments in a help text that have no description.
fn undocumented(help: &str) -> Vec<&str> {
    let lines: Vec<_> = help.lines().collect();
    let is_option_line = |line: &str| {
        let text = line.trim_start();
        let is_note = ["[default: ", "[possible values: ", "[env: "].iter().any(|note| text.starts_with(note));
        line.starts_with("  ")
            && !is_note
            && (text.starts_with("--") || text.starts_with('-') || text.starts_with(['<', '[']))
    };
    let has_no_description = |number: &usize| {
        let text = lines[*number].trim();
        // The description follows two spaces, or is on the next line.
        let next = lines.get(number + 1).copied().unwrap_or_default();
        !text.contains("  ") && (next.trim().is_empty() || is_option_line(next))
    };
    (0..lines.len())
        .filter(|number| is_option_line(lines[*number]))
        .filter(has_no_description)
        .map(|number| lines[number])
        .collect()
}

#[test]
fn every_command_and_option_has_help() {
    let commands = all_commands();
    assert!(commands.len() > 40, "{}", commands.len());
    for (words, help) in &commands {
        assert!(help.lines().next().is_some_and(|line| line.len() > 15 && !line.starts_with("Usage")), "{words:?}");
        assert_eq!(undocumented(help), Vec::<&str>::new(), "{words:?}");
    }
    assert_eq!(
        undocumented("Options:\n      --bare\n      --told\n          So.\n  -h, --help  Help\n"),
        ["      --bare"]
    );
}

#[test]
fn every_command_is_named_in_the_documentation() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md")).unwrap();
    let commands = all_commands();
    let names: BTreeSet<_> = commands.iter().map(|(words, _)| words.join(" ")).collect();
    let is_group = |name: &str| names.iter().any(|other| other.starts_with(&format!("{name} ")));
    let leaves = names.iter().filter(|name| !is_group(name) && !name.starts_with("application run "));
    let is_named = |name: &str| [" ", "`"].iter().any(|end| page.contains(&format!("`{name}{end}")));
    let missing: Vec<_> = leaves.filter(|name| !is_named(name)).collect();
    assert!(missing.is_empty(), "docs/cli.md does not name {missing:?}");
    assert!(!is_named("no such command"));
}

#[test]
fn manual_pages_are_well_formed() {
    if !needs::has("groff") {
        return needs::missing("groff", "apt-get install groff");
    }
    let folder = tempfile::TempDir::new().unwrap();
    let man = folder.path().join("man1");
    run(&["man", "--output", man.to_str().unwrap()]).assert_code(0);
    let complete_page = run(&["man"]);
    complete_page.assert_code(0);
    fs::write(man.join("whole.1"), &complete_page.stdout).unwrap();
    let mut pages: Vec<_> = fs::read_dir(&man).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 40 && pages.contains(&man.join("aignostics-run-download.1")), "{pages:?}");
    let groff_result =
        Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z", "-K", "utf8"]).args(&pages).output().unwrap();
    let groff_result = CommandResult::of(&groff_result);
    groff_result.assert_code(0);
    assert_eq!(groff_result.stderr, "");
}

#[test]
fn man_shows_the_page_with_its_commands_and_exit_codes() {
    if !needs::has("man") {
        return needs::missing("man", "apt-get install man-db");
    }
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("aignostics.1");
    fs::write(&path, run(&["man"]).stdout).unwrap();
    let mut command = Command::new("man");
    command.args(["--warnings", "-l"]).arg(&path).env("MANWIDTH", "100").env("LC_ALL", "C.UTF-8").env("PAGER", "cat");
    let result = CommandResult::of(&command.output().unwrap());
    result.assert_code(0);
    assert_eq!(result.stderr, "");
    // `man` adjusts the spaces between words.
    let page = result.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in
        ["aignostics", "SUBCOMMANDS", "bucket", "--format", "EXIT STATUS 0 success", "ENVIRONMENT AIGNOSTICS_API_ROOT"]
    {
        assert!(page.contains(text), "{text}: {}", result.stdout);
    }
}

#[test]
fn pages_of_commands_have_examples() {
    let folder = tempfile::TempDir::new().unwrap();
    run(&["man", "--output", folder.path().to_str().unwrap()]).assert_code(0);
    let page = fs::read_to_string(folder.path().join("aignostics-run-wait.1")).unwrap();
    for text in [".SH EXAMPLES", "aignostics run wait RUN \\-\\-timeout 2h", ".SH \"EXIT STATUS\"", ".SH ENVIRONMENT"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert_eq!(page.matches("timeout 2h").count(), 1, "{page}");
}

#[test]
fn pages_that_cannot_be_written_are_a_failure() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let result = run(&["man", "--output", file.join("below").to_str().unwrap()]);
    result.assert_code(1);
    assert!(result.error_message().contains("cannot write the manual pages to"), "{}", result.stderr);
}
