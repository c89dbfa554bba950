//! `aignostics man`: manual pages generated from the help texts.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;

use crate::error::CliError;
use crate::output::Output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Write a page for each command into this folder, such as `~/.local/share/man/man1`, and print nothing
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, command: Command, output: &Output) -> Result<(), CliError> {
    let Some(folder) = &arguments.output else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        let mut stdout = io::stdout().lock();
        return stdout.write_all(&page).and_then(|()| stdout.flush()).map_err(CliError::unprinted);
    };
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    written.with_context(|| format!("cannot write the manual pages to '{}'", folder.display()))?;
    output.note(format!("manual pages written to {}", folder.display()));
    Ok(())
}
