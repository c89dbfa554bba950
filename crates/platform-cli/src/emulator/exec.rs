//! Runs a command in the emulator.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use anyhow::Context as _;
use platform_resources::Settings;
use tokio::process::Command;

use crate::error::CliError;
use crate::signals::Signals;

/// Runs a command, forwards a signal to it, and waits for its end. A second signal kills it.
///
/// Without a terminal, the command and its children form a separate process group, which receives the signal. With a
/// terminal, they stay in its foreground group, which receives Ctrl-C and Ctrl-\ from the terminal itself.
pub(super) async fn execute(
    command: &[OsString],
    variables: &[(&'static str, String)],
    signals: &mut Signals,
) -> Result<(), CliError> {
    let (program, arguments) = command.split_first().context("the command is missing")?;
    let terminal = io::stdin().is_terminal();
    let mut prepared = Command::new(program);
    // The credential, the profile and other secrets of the caller belong to another platform.
    let secrets = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in secrets.filter(|name| Settings::is_secret_variable(name)).chain(Settings::credential_variables()) {
        prepared.env_remove(name);
    }
    prepared.args(arguments).envs(variables.iter().map(|(name, value)| (*name, value))).kill_on_drop(true);
    #[cfg(unix)]
    if !terminal {
        prepared.process_group(0);
    }
    let mut child = prepared.spawn().map_err(|error| CliError::not_started(error, program))?;
    let id = child.id();
    let status = tokio::select! {
        status = child.wait() => status,
        number = signals.next() => {
            tell(id, number, terminal);
            tokio::select! {
                status = child.wait() => status,
                again = signals.next() => {
                    tell(id, KILL, terminal);
                    return Err(CliError::signal(again));
                }
            }
        }
    };
    let status = status.context("cannot wait for the command")?;
    if status.success() { Ok(()) } else { Err(CliError::passed_on(status)) }
}

const KILL: u8 = 9;

/// Forwards a signal to a command and its process group, if it has its own.
#[cfg(unix)]
fn tell(child: Option<u32>, signal: u8, terminal: bool) {
    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    let child = child.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let (Some(child), Some(signal)) = (child, Signal::from_named_raw(signal.into())) else { return };
    // If it has ended, the error can be ignored.
    let _ = match signal {
        Signal::INT | Signal::QUIT if terminal => Ok(()),
        _ if terminal => kill_process(child, signal),
        _ => kill_process_group(child, signal),
    };
}

/// Does nothing, because the console signals all of its processes.
#[cfg(not(unix))]
fn tell(_child: Option<u32>, _signal: u8, _terminal: bool) {}
