//! The help of a command beyond its argument types: exit codes, examples and groups of subcommands.

use std::env;
use std::fmt::Write;

use clap::Command;
use clap::builder::StyledStr;

/// Names and their descriptions.
type Descriptions = &'static [(&'static str, &'static str)];

/// The help of a command beyond its argument types. A subcommand is named by its path, such as "run list".
#[derive(Clone, Copy, Debug)]
pub struct Guide {
    /// The name of the program.
    pub program: &'static str,
    /// The exit codes and their meaning.
    pub exit_codes: Descriptions,
    /// The most important environment variables, for the manual page.
    pub variables: Descriptions,
    /// Examples by subcommand, without the name of the program.
    pub examples: &'static [(&'static str, &'static [&'static str])],
    /// Alternative paths of subcommands, each with the path under which `examples` contains the subcommand.
    pub aliases: Descriptions,
    /// The subcommand whose own subcommands are listed in groups, and these groups.
    pub grouped: (&'static str, &'static [(&'static str, &'static [&'static str])]),
}

impl Guide {
    /// Returns a command with the complete help.
    pub fn apply_to(&self, command: Command) -> Command {
        let codes: Vec<_> = self.exit_codes.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect();
        let command = command.after_help(format!("Exit codes: {}", codes.join(", ")));
        let command = self.with_examples(command, "");
        // The groups are added only for the command that has them, because rendering its help is the slowest part of
        // the startup.
        if env::args_os().any(|argument| argument == self.grouped.0) { self.with_groups(command) } else { command }
    }

    /// Returns the examples of a command.
    pub fn examples(&self, name: &str) -> &'static [&'static str] {
        let alias = self.aliases.iter().find_map(|(alias, path)| Some((path, name.strip_prefix(alias)?)));
        let path = alias.map_or_else(|| name.to_owned(), |(path, rest)| format!("{path}{rest}"));
        self.examples.iter().find(|(command, _)| *command == path).map_or(&[], |(_, examples)| examples)
    }

    /// Returns the gaps in the guide, for tests: visible subcommands without an example, examples that `command` does
    /// not accept, and subcommands of the grouped command that are not in exactly one group. `replace_placeholder`
    /// returns a valid value for words such as `RUN` in examples.
    pub fn problems(&self, command: &Command, replace_placeholder: fn(&str) -> &str) -> Vec<String> {
        let paths = paths(command, "");
        let without_example = paths.iter().filter(|name| self.examples(name).is_empty());
        let without_example = without_example.map(|name| format!("{name}: no example"));
        let unknown_commands = self.examples.iter().filter(|(name, _)| !paths.iter().any(|path| path == name));
        let unknown_commands = unknown_commands.map(|(name, _)| format!("{name}: no such command"));
        let rejected_examples = self.examples.iter().flat_map(|(_, examples)| *examples).filter_map(|example| {
            let words = shell_words(example);
            let words = [self.program].into_iter().chain(words.iter().map(|word| replace_placeholder(word)));
            let error = command.clone().try_get_matches_from(words.map(str::to_owned).collect::<Vec<_>>()).err()?;
            Some(format!("{example}: {error}"))
        });
        let (name, groups) = self.grouped;
        let subcommands = command.find_subcommand(name).into_iter().flat_map(Command::get_subcommands);
        let group_count = |name: &str| groups.iter().filter(|(_, names)| names.contains(&name)).count();
        let ungrouped = subcommands.map(Command::get_name).filter(|name| group_count(name) != 1);
        let ungrouped = ungrouped.map(|name| format!("{name}: not in one group"));
        without_example.chain(unknown_commands).chain(rejected_examples).chain(ungrouped).collect()
    }

    /// Adds the examples to the help of a command and of its subcommands.
    fn with_examples(&self, command: Command, name: &str) -> Command {
        let command = command.mut_subcommands(|subcommand| {
            let name = format!("{name} {}", subcommand.get_name());
            self.with_examples(subcommand, name.trim_start())
        });
        let lines = self.examples(name);
        if lines.is_empty() {
            return command;
        }
        let mut help = command.get_after_help().map_or_else(String::new, |help| format!("{help}\n\n"));
        help += if lines.len() == 1 { "Example:" } else { "Examples:" };
        for line in lines {
            // Writing to a `String` cannot fail.
            let _ = write!(help, "\n  {} {line}", self.program);
        }
        command.after_help(help)
    }

    /// Groups the subcommands of the grouped command in its help.
    fn with_groups(&self, mut command: Command) -> Command {
        command.build();
        let (name, groups) = self.grouped;
        let Some(subcommand) = command.find_subcommand(name) else { return command };
        let help = grouped_help(subcommand, groups);
        command.mut_subcommand(name, |subcommand| subcommand.override_help(help))
    }
}

/// Returns the paths of all visible subcommands that can be run.
fn paths(command: &Command, name: &str) -> Vec<String> {
    let subcommands = command.get_subcommands().filter(|child| !child.is_hide_set() && child.get_name() != "help");
    let mut all: Vec<_> =
        subcommands.flat_map(|child| paths(child, format!("{name} {}", child.get_name()).trim_start())).collect();
    if !name.is_empty() && (all.is_empty() || !command.is_subcommand_required_set()) {
        all.push(name.to_owned());
    }
    all
}

/// Splits an example at spaces outside quotes, and removes redirections.
fn shell_words(example: &str) -> Vec<String> {
    let example = example.split(['>', '<']).next().unwrap_or_default();
    // The segments with odd numbers are quoted.
    let split = |(number, segment): (usize, &str)| match number % 2 {
        0 => segment.split_whitespace().map(str::to_owned).collect(),
        _ => vec![segment.to_owned()],
    };
    example.split('\'').enumerate().flat_map(split).collect()
}

/// Returns the help of a command with groups of subcommands.
fn grouped_help(command: &Command, groups: &[(&str, &[&str])]) -> StyledStr {
    let mut help = command.get_about().map(ToString::to_string).unwrap_or_default();
    // Writing to a `String` cannot fail.
    let _ = write!(help, "\n\n{}\n", command.clone().render_usage().ansi().to_string().trim_end());
    let heading = command.get_styles().get_header();
    for (group, names) in groups {
        let subcommands = names.iter().filter_map(|name| command.find_subcommand(name)).cloned();
        let mut group_command = Command::new("group").styles(command.get_styles().clone()).subcommands(subcommands);
        group_command = group_command.disable_help_subcommand(true).help_template("{subcommands}");
        let _ = write!(
            help,
            "\n{heading}{group}:{heading:#}\n{}\n",
            group_command.render_help().ansi().to_string().trim_end()
        );
    }
    let without_subcommands = command.clone().mut_subcommands(|subcommand| subcommand.hide(true));
    let _ = write!(help, "\n{}", without_subcommands.help_template("{all-args}").render_help().ansi());
    StyledStr::from(help)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const GUIDE: Guide = Guide {
        program: "example",
        exit_codes: &[("0", "success"), ("1", "failure")],
        variables: &[("NO_COLOR", "Disables colors")],
        examples: &[("run list", &["run list", "run list --all"]), ("show", &["show"])],
        aliases: &[("other run", "run")],
        grouped: ("run", &[("Read", &["list"])]),
    };

    pub(crate) fn command() -> Command {
        let all = || clap::Arg::new("all").long("all").action(clap::ArgAction::SetTrue);
        let run = || {
            Command::new("run")
                .subcommand_required(true)
                .about("Manage runs")
                .subcommand(Command::new("list").about("List runs").arg(all()))
        };
        let other = Command::new("other").subcommand_required(true).about("Other commands").subcommand(run());
        let show = Command::new("show").about("Show one").after_help("Reads only.");
        Command::new("example").subcommands([run(), other, show])
    }

    #[test]
    fn help_has_exit_codes_and_examples() {
        let mut command = GUIDE.apply_to(command());
        assert!(command.render_help().to_string().contains("Exit codes: 0 success, 1 failure"));
        let show = command.find_subcommand_mut("show").unwrap().render_help().to_string();
        assert!(show.ends_with("Reads only.\n\nExample:\n  example show\n"), "{show}");
        assert_eq!(GUIDE.examples("other run list"), ["run list", "run list --all"]);
    }

    #[test]
    fn gaps_in_a_guide_are_found() {
        assert_eq!(GUIDE.problems(&command(), |word| word), Vec::<String>::new());
        let extended = command().subcommand(Command::new("more"));
        assert_eq!(GUIDE.problems(&extended, |word| word), ["more: no example"]);
        let incomplete = Guide { grouped: ("run", &[]), examples: &[("show", &["show --x"])], ..GUIDE };
        let problems = incomplete.problems(&command(), |word| word).join("\n");
        for problem in ["run list: no example", "show --x: error", "list: not in one group"] {
            assert!(problems.contains(problem), "{problem}: {problems}");
        }
    }

    #[test]
    fn subcommands_are_in_groups() {
        let mut command = GUIDE.with_groups(command());
        let help = command.find_subcommand_mut("run").unwrap().render_help().to_string();
        assert!(help.contains("Read:\n  list  List runs\n"), "{help}");
        assert_eq!(help.matches("List runs").count(), 1, "{help}");
    }
}
