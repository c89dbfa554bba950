//! The threads of the command. Login nodes and shared hosts limit the processes of a user (`ulimit -u`), and a thread
//! counts as a process. Beyond the limit, the standard library and tokio panic on any thread, and the other threads may
//! wait forever.

use std::io;
use std::panic::{self, PanicHookInfo};
use std::process;
use std::thread;

use anyhow::anyhow;
use tokio::runtime::{Builder, Runtime};

use crate::error::CliError;
use crate::format::Format;
use crate::signals::REDEMPTION_LIMIT;

/// The exit code of a local failure.
const CODE: i32 = 1;
/// The message for a thread that cannot be created.
const LIMITED: &str = "cannot create a thread: the maximum number of processes is reached (`ulimit -u`)";
/// The maximum number of worker threads. Transfers and checksums have threads of their own.
const MAX_WORKERS: usize = 8;

/// Starts the runtime of the command.
pub(crate) fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads(cores.min(MAX_WORKERS)).enable_all().build()
}

/// Converts the error of a command that cannot be started.
pub(crate) fn failure(error: io::Error) -> CliError {
    match error.kind() {
        // Of the calls that start a command, only the creation of a thread fails with this kind.
        io::ErrorKind::WouldBlock => anyhow!(LIMITED).into(),
        _ => error.into(),
    }
}

/// Ends the process with an error when a thread cannot be created.
pub(crate) fn end_without_threads(format: Format) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_about_threads(message(info)) {
            return before(info);
        }
        let _ = CliError::from(anyhow!(LIMITED)).report(format);
        // Waits for redemptions in progress, so that no login is lost.
        let _ = auth_core::finish_redemptions(REDEMPTION_LIMIT);
        #[expect(clippy::exit, reason = "the other threads may wait forever")]
        process::exit(CODE);
    }));
}

fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref().copied()).unwrap_or_default()
}

/// Recognizes the messages of the standard library and of tokio.
fn is_about_threads(message: &str) -> bool {
    ["failed to spawn thread", "can't spawn worker thread"].iter().any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_create_threads_are_recognized() {
        let error = std::io::Error::from_raw_os_error(11);
        assert!(is_about_threads(&format!("failed to spawn thread: {error:?}")), "the standard library");
        assert!(is_about_threads(&format!("OS can't spawn worker thread: {error}")), "tokio");
        assert!(!is_about_threads("index out of bounds"));
    }
}
