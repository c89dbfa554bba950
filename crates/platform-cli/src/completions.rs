//! `aignostics completions`: shell completion scripts.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::CliError;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Shell: bash, zsh, fish, elvish or powershell
    #[arg(value_enum, hide_possible_values = true)]
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, mut command: Command) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "aignostics", &mut script);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&script).and_then(|()| stdout.flush()).map_err(CliError::unprinted)
}
