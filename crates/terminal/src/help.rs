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
    /// Alternative paths of subcommands, and the paths under which their examples are listed.
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
        // Only when needed, because rendering the help is the slowest part of the startup.
        if env::args_os().any(|argument| argument == self.grouped.0) { self.with_groups(command) } else { command }
    }

    /// Returns the examples of a command.
    pub fn examples(&self, name: &str) -> &'static [&'static str] {
        let listed = self.aliases.iter().find_map(|(alias, listed)| Some((listed, name.strip_prefix(alias)?)));
        let listed = listed.map_or_else(|| name.to_owned(), |(listed, rest)| format!("{listed}{rest}"));
        self.examples.iter().find(|(command, _)| *command == listed).map_or(&[], |(_, examples)| examples)
    }

    /// Returns the gaps in the guide of a command: a visible subcommand without an example, an example that the
    /// command does not accept, and a subcommand of the grouped command in no group. `replace_placeholder` replaces
    /// words such as `RUN` in examples. For tests.
    pub fn problems(&self, command: &Command, replace_placeholder: fn(&str) -> &str) -> Vec<String> {
        let paths = paths(command, "");
        let without_example = paths.iter().filter(|name| self.examples(name).is_empty());
        let without_example = without_example.map(|name| format!("{name}: no example"));
        let unknown = self.examples.iter().filter(|(name, _)| !paths.iter().any(|known| known == name));
        let unknown = unknown.map(|(name, _)| format!("{name}: no such command"));
        let rejected = self.examples.iter().flat_map(|(_, examples)| *examples).filter_map(|example| {
            let words = shell_words(example);
            let words = [self.program].into_iter().chain(words.iter().map(|word| replace_placeholder(word)));
            let error = command.clone().try_get_matches_from(words.map(str::to_owned).collect::<Vec<_>>()).err()?;
            Some(format!("{example}: {error}"))
        });
        let (name, groups) = self.grouped;
        let subcommands = command.find_subcommand(name).into_iter().flat_map(Command::get_subcommands);
        let grouped = |name: &str| groups.iter().filter(|(_, names)| names.contains(&name)).count();
        let ungrouped = subcommands.map(Command::get_name).filter(|name| grouped(name) != 1);
        let ungrouped = ungrouped.map(|name| format!("{name}: not in one group"));
        without_example.chain(unknown).chain(rejected).chain(ungrouped).collect()
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
    let split = |(number, part): (usize, &str)| match number % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
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
        let mut listed = Command::new("group").styles(command.get_styles().clone()).subcommands(subcommands);
        listed = listed.disable_help_subcommand(true).help_template("{subcommands}");
        let _ =
            write!(help, "\n{heading}{group}:{heading:#}\n{}\n", listed.render_help().ansi().to_string().trim_end());
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
    fn incomplete_guide_is_found() {
        assert_eq!(GUIDE.problems(&command(), |word| word), Vec::<String>::new());
        let other = command().subcommand(Command::new("more"));
        assert_eq!(GUIDE.problems(&other, |word| word), ["more: no example"]);
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
