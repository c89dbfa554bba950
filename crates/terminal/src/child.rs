//! A command that runs inside this one.

use std::io::{self, IsTerminal};

use tokio::process::Command;

use crate::failure::{Classify, Failure};
use crate::signals::Signals;

/// Runs a command, forwards a signal to it, and waits for its end. A second signal kills it.
///
/// Without a terminal, the command and its children form a separate process group, which receives the signal. With a
/// terminal, they stay in its foreground group, which receives Ctrl-C and Ctrl-\ from the terminal itself.
///
/// # Errors
///
/// The exit code of the command, as in shells: 127 if it does not exist, 126 if it cannot be started.
pub async fn run<C: Classify>(mut command: Command, signals: &mut Signals) -> Result<(), Failure<C>> {
    let terminal = io::stdin().is_terminal();
    signals.hand_over();
    command.kill_on_drop(true);
    #[cfg(unix)]
    if !terminal {
        command.process_group(0);
    }
    let mut child = command.spawn().map_err(|error| start_error(error, &command))?;
    let id = child.id();
    let mut guard = KillOnDrop { id, terminal, is_running: true };
    let status = tokio::select! {
        status = child.wait() => status,
        number = signals.next() => {
            send_signal(id, number, terminal);
            tokio::select! {
                status = child.wait() => status,
                again = signals.next() => {
                    send_signal(id, KILL, terminal);
                    return Err(Failure::signal(again));
                }
            }
        }
    };
    guard.is_running = false;
    let status = status.map_err(|error| anyhow::Error::from(error).context("cannot wait for the command"))?;
    if status.success() { Ok(()) } else { Err(Failure::child_exit(status)) }
}

/// Kills the command and its process group if it is dropped before the command has ended, for example after a timeout.
struct KillOnDrop {
    id: Option<u32>,
    terminal: bool,
    is_running: bool,
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if self.is_running {
            send_signal(self.id, KILL, self.terminal);
        }
    }
}

fn start_error<C>(error: io::Error, command: &Command) -> Failure<C> {
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    Failure::with_code(code, anyhow::Error::from(error).context(format!("cannot run '{program}'")))
}

const KILL: u8 = 9;

/// Forwards a signal to a command and its process group, if it has its own.
#[cfg(unix)]
fn send_signal(child: Option<u32>, signal: u8, terminal: bool) {
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
fn send_signal(_child: Option<u32>, _signal: u8, _terminal: bool) {}
