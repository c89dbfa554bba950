//! The help of the command: what its argument types state, with examples and groups of subcommands.

use std::env;
use std::fmt::Write;

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};

use crate::Arguments;
use crate::examples::EXAMPLES;

/// The exit codes and their meaning.
pub(crate) const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "success"),
    ("1", "failure"),
    ("2", "invalid usage or input, not found, or unhealthy"),
    ("3", "conflict"),
    ("4", "login required or permission denied"),
    ("5", "quota exceeded"),
    ("6", "some items or artifacts failed"),
    ("7", "unusable slides stopped `run execute` before the submission"),
    ("130", "interrupted"),
    ("143", "terminated"),
];

/// The groups of the subcommands of `run`.
const RUN_GROUPS: &[(&str, &[&str])] = &[
    ("Prepare and submit", &["prepare", "upload", "validate", "submit", "execute"]),
    ("Follow", &["wait", "watch"]),
    ("Results", &["download", "verify", "forget", "clean", "result"]),
    (
        "Manage",
        &[
            "list",
            "describe",
            "cancel",
            "cancel-by-filter",
            "dump-metadata",
            "dump-item-metadata",
            "update-metadata",
            "update-item-metadata",
        ],
    ),
    ("Share", &["share"]),
];

/// Returns the command with the complete help.
pub(crate) fn command() -> Command {
    let codes: Vec<_> = EXIT_CODES.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect();
    let command = Arguments::command().after_help(format!("Exit codes: {}", codes.join(", ")));
    let command = with_examples(command, "");
    // Rendering the help takes longer than anything else at the start.
    if env::args_os().any(|argument| argument == "run") { with_groups(command) } else { command }
}

/// Returns the examples of a command, named without the name of the program.
pub(crate) fn examples(name: &str) -> &'static [&'static str] {
    let name = name.strip_prefix("application ").filter(|name| name.starts_with("run")).unwrap_or(name);
    EXAMPLES.iter().find(|(command, _)| *command == name).map_or(&[], |(_, examples)| examples)
}

/// Adds the examples to the help of a command and of its subcommands.
fn with_examples(command: Command, name: &str) -> Command {
    let command = command.mut_subcommands(|subcommand| {
        let name = format!("{name} {}", subcommand.get_name());
        with_examples(subcommand, name.trim_start())
    });
    let lines = examples(name);
    if lines.is_empty() {
        return command;
    }
    let mut help = command.get_after_help().map_or_else(String::new, |help| format!("{help}\n\n"));
    help += if lines.len() == 1 { "Example:" } else { "Examples:" };
    for line in lines {
        // Writing to a `String` cannot fail.
        let _ = write!(help, "\n  aignostics {line}");
    }
    command.after_help(help)
}

/// Groups the subcommands of `run` in its help.
fn with_groups(mut command: Command) -> Command {
    command.build();
    let Some(run) = command.find_subcommand("run") else { return command };
    let help = grouped(run);
    command.mut_subcommand("run", |run| run.override_help(help))
}

fn grouped(command: &Command) -> StyledStr {
    let mut help = command.get_about().map(ToString::to_string).unwrap_or_default();
    // Writing to a `String` cannot fail.
    let _ = write!(help, "\n\n{}\n", command.clone().render_usage().ansi().to_string().trim_end());
    let heading = command.get_styles().get_header();
    for (group, names) in RUN_GROUPS {
        let subcommands = names.iter().filter_map(|name| command.find_subcommand(name)).cloned();
        let mut listed = Command::new("run").styles(command.get_styles().clone()).subcommands(subcommands);
        listed = listed.disable_help_subcommand(true).help_template("{subcommands}");
        let _ =
            write!(help, "\n{heading}{group}:{heading:#}\n{}\n", listed.render_help().ansi().to_string().trim_end());
    }
    let bare = command.clone().mut_subcommands(|subcommand| subcommand.hide(true));
    let _ = write!(help, "\n{}", bare.help_template("{all-args}").render_help().ansi());
    StyledStr::from(help)
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    /// Returns the names of all visible commands that run.
    fn names(command: &Command, name: &str) -> Vec<String> {
        let below = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
        let mut all: Vec<_> =
            below.flat_map(|below| names(below, format!("{name} {}", below.get_name()).trim_start())).collect();
        if !name.is_empty() && (all.is_empty() || !command.is_subcommand_required_set()) {
            all.push(name.to_owned());
        }
        all
    }

    #[test]
    fn every_command_has_examples() {
        let mut all = names(&Arguments::command(), "");
        let missing: Vec<_> = all.iter().filter(|name| examples(name).is_empty()).collect();
        assert!(missing.is_empty(), "without examples: {missing:?}");
        all.retain(|name| !name.starts_with("application run"));
        all.sort();
        let mut listed: Vec<_> = EXAMPLES.iter().map(|(name, _)| (*name).to_owned()).collect();
        listed.sort();
        assert_eq!(all, listed);
    }

    #[test]
    fn examples_are_accepted() {
        for example in EXAMPLES.iter().flat_map(|(_, examples)| *examples) {
            let words = shell_words(example);
            let words = words.iter().map(|word| match word.as_str() {
                "RUN" | "ID" => "0c9a1e0e-6b0c-4c52-9a0e-2f5a7c1d0b11",
                word => word,
            });
            let matches = command().try_get_matches_from(["aignostics"].into_iter().chain(words));
            let parsed = matches.and_then(|matches| Arguments::from_arg_matches(&matches));
            assert!(parsed.is_ok(), "{example}: {}", parsed.err().unwrap());
        }
    }

    /// Splits an example at spaces outside quotes, and removes redirections.
    fn shell_words(example: &str) -> Vec<String> {
        let example = example.split([">", "<"].map(|sign| sign.chars().next().unwrap())).next().unwrap();
        let parts = example.split('\'').enumerate();
        parts
            .flat_map(|(number, part)| match number % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    #[test]
    fn every_subcommand_of_run_is_in_one_group() {
        let command = Arguments::command();
        let run = command.find_subcommand("run").unwrap();
        let mut names: Vec<_> = run.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<_> = RUN_GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        names.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(names, grouped);
    }
}
