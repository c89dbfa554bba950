//! Manual pages generated from the help texts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::help::Guide;
use crate::output::{Output, print_bytes};

/// The arguments of a command that prints its manual page.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Write a page for each command into this folder, such as `~/.local/share/man/man1`, and print nothing
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints the page of a command, or writes the pages of all its subcommands into a folder.
///
/// # Errors
///
/// stdout or the folder cannot be written.
pub fn run(arguments: &Arguments, command: Command, guide: &Guide, output: &Output) -> anyhow::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = &arguments.output else {
        return Ok(print_bytes(&page(&command, guide, "")?)?);
    };
    let outcome = fs::create_dir_all(folder).and_then(|()| write_all(&command, guide, "", folder));
    outcome.with_context(|| format!("cannot write the manual pages to '{}'", folder.display()))?;
    output.note(format!("manual pages written to {}", folder.display()));
    Ok(())
}

/// Writes the pages of a command and its subcommands.
fn write_all(command: &Command, guide: &Guide, name: &str, folder: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        write_all(subcommand, guide, format!("{name} {}", subcommand.get_name()).trim_start(), folder)?;
    }
    fs::write(folder.join(Man::new(command.clone()).get_filename()), page(command, guide, name)?)
}

/// Returns the page of a command. `name` is the path of the command, without the name of the program.
fn page(command: &Command, guide: &Guide, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let examples = guide.examples(name);
    // The examples are printed in a separate section.
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let notes = help.split("Example:").next().unwrap_or_default().split("Examples:").next().unwrap_or_default();
    let notes = if name.is_empty() { "" } else { notes.trim() };
    let man = Man::new(command.clone().after_help(notes.to_owned()));
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if !notes.is_empty() {
        man.render_extra_section(&mut page)?;
    }
    let mut roff = Roff::new();
    list_section(&mut roff, "EXIT STATUS", guide.exit_codes);
    list_section(&mut roff, "ENVIRONMENT", guide.variables);
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        for example in examples {
            roff.control("PP", []).control("nf", []);
            roff.text([roman(format!("{} {example}", guide.program))]).control("fi", []);
        }
    }
    roff.to_writer(&mut page)?;
    if command.get_version().is_some() {
        man.render_version_section(&mut page)?;
    }
    Ok(page)
}

/// Adds a section with a list.
fn list_section(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, text) in entries {
        roff.control("TP", []).text([bold(*name)]).text([roman(*text)]);
    }
}

#[cfg(test)]
mod tests {
    use crate::help::tests::{GUIDE, command};

    use super::*;

    #[test]
    fn page_has_the_sections_of_the_guide() {
        let mut command = GUIDE.apply_to(command());
        command.build();
        let page = page(command.find_subcommand("show").unwrap(), &GUIDE, "show").unwrap();
        let page = String::from_utf8(page).unwrap();
        for part in [".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", ".SH EXAMPLES", "\nexample show\n", "Reads only."] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("Example:"));
    }
}
