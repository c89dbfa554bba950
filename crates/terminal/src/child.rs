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
    let has_terminal = io::stdin().is_terminal();
    signals.hand_over();
    command.kill_on_drop(true);
    #[cfg(unix)]
    if !has_terminal {
        command.process_group(0);
    }
    let mut child = command.spawn().map_err(|error| start_error(error, &command))?;
    let id = child.id();
    let mut guard = KillOnDrop { id, has_terminal, is_running: true };
    let status = tokio::select! {
        status = child.wait() => status,
        signal = signals.next() => {
            send_signal(id, signal, has_terminal);
            tokio::select! {
                status = child.wait() => status,
                second_signal = signals.next() => {
                    send_signal(id, KILL, has_terminal);
                    return Err(Failure::signal(second_signal));
                }
            }
        }
    };
    guard.is_running = false;
    let status = status.map_err(|error| anyhow::Error::from(error).context("cannot wait for the command"))?;
    if status.success() { Ok(()) } else { Err(Failure::child_exit(status)) }
}

/// A guard that kills the command and its process group if the guard is dropped while the command is running, for
/// example after a timeout.
struct KillOnDrop {
    id: Option<u32>,
    has_terminal: bool,
    is_running: bool,
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if self.is_running {
            send_signal(self.id, KILL, self.has_terminal);
        }
    }
}

fn start_error<C>(error: io::Error, command: &Command) -> Failure<C> {
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    Failure::with_code(code, anyhow::Error::from(error).context(format!("cannot run '{program}'")))
}

const KILL: u8 = 9;

/// Forwards a signal to a command. Without a terminal, the command has its own process group, and the group receives
/// the signal.
#[cfg(unix)]
fn send_signal(child: Option<u32>, signal: u8, has_terminal: bool) {
    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    let child = child.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let (Some(child), Some(signal)) = (child, Signal::from_named_raw(signal.into())) else { return };
    // Sending fails if the command has already ended.
    let _ = match signal {
        Signal::INT | Signal::QUIT if has_terminal => Ok(()),
        _ if has_terminal => kill_process(child, signal),
        _ => kill_process_group(child, signal),
    };
}

/// Does nothing, because the console itself sends the signal to all of its processes.
#[cfg(not(unix))]
fn send_signal(_child: Option<u32>, _signal: u8, _has_terminal: bool) {}
