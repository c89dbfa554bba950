//! Shell completion scripts.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::output::{PrintError, print_bytes};

/// The arguments of a command that prints a completion script.
#[derive(Args, Clone, Copy, Debug)]
pub struct Arguments {
    /// Shell: bash, zsh, fish, elvish or powershell
    #[arg(value_enum, hide_possible_values = true)]
    shell: Shell,
}

/// Prints the completion script of a command.
///
/// # Errors
///
/// stdout cannot be written.
pub fn run(arguments: Arguments, mut command: Command) -> Result<(), PrintError> {
    let (mut script, name) = (Vec::new(), command.get_name().to_owned());
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    print_bytes(&script)
}
