//! `aignostics man`: manual pages generated from the help texts.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::error::CliError;
use crate::help::{EXIT_CODES, examples};
use crate::output::Output;

/// The most important environment variables. `docs/configuration.md` has all of them.
const VARIABLES: &[(&str, &str)] = &[
    ("AIGNOSTICS_API_ROOT", "Address of the platform"),
    ("AIGNOSTICS_PROFILE", "Name of the profile to use"),
    ("AIGNOSTICS_ACCESS_TOKEN_FILE", "File with the access token to use"),
    ("AIGNOSTICS_TOKEN_COMMAND", "Command that prints the access token to use"),
    ("AIGNOSTICS_REFRESH_TOKEN", "Refresh token to use instead of a login"),
    ("AIGNOSTICS_SHARE_TOKEN", "Secret of a share token, for commands that read a run"),
    ("AIGNOSTICS_CACHE_DIR", "Folder for logins"),
    ("AIGNOSTICS_STATE_DIR", "Folder for the journals of submissions and uploads"),
    ("AIGNOSTICS_RETRY_FOR", "Maximum duration of an outage before a request fails, in seconds"),
    ("HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "Proxies, and the hosts to reach without them"),
    ("NO_COLOR", "Disables colors"),
];

#[derive(Args)]
pub(crate) struct Arguments {
    /// Write a page for each command into this folder, such as `~/.local/share/man/man1`, and print nothing
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, command: Command, output: &Output) -> Result<(), CliError> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = &arguments.output else {
        let page = page(&command, "")?;
        let mut stdout = io::stdout().lock();
        return stdout.write_all(&page).and_then(|()| stdout.flush()).map_err(CliError::unprinted);
    };
    let written = fs::create_dir_all(folder).and_then(|()| write_all(&command, "", folder));
    written.with_context(|| format!("cannot write the manual pages to '{}'", folder.display()))?;
    output.note(format!("manual pages written to {}", folder.display()));
    Ok(())
}

/// Writes the pages of a command and its subcommands.
fn write_all(command: &Command, name: &str, folder: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        write_all(subcommand, format!("{name} {}", subcommand.get_name()).trim_start(), folder)?;
    }
    fs::write(folder.join(Man::new(command.clone()).get_filename()), page(command, name)?)
}

/// Returns the page of a command, named without the name of the program.
fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let examples = examples(name);
    // The examples have a section.
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
    listed(&mut roff, "EXIT STATUS", EXIT_CODES);
    listed(&mut roff, "ENVIRONMENT", VARIABLES);
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        for example in examples {
            roff.control("PP", []).control("nf", []);
            roff.text([roman(format!("aignostics {example}"))]).control("fi", []);
        }
    }
    roff.to_writer(&mut page)?;
    if command.get_version().is_some() {
        man.render_version_section(&mut page)?;
    }
    Ok(page)
}

/// Adds a section with a list.
fn listed(roff: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, text) in entries {
        roff.control("TP", []).text([bold(*name)]).text([roman(*text)]);
    }
}
