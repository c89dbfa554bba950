//! The threads of the command. Login nodes and shared hosts limit the processes of a user (`ulimit -u`), and a thread
//! counts as a process. At the limit, the standard library and tokio panic on the thread that creates another one, and
//! other threads may wait for it forever.

use std::io;
use std::panic::{self, PanicHookInfo};
use std::process;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use tokio::runtime::{Builder, Runtime};

use crate::failure::{Classify, Failure};
use crate::format::Format;
use crate::signals::{IgnoredSignals, SINGLE_USE_LIMIT, Signals, SingleUse};

/// The exit code of a local failure.
const FAILURE_CODE: i32 = 1;
/// The message for a thread that cannot be created.
const THREAD_LIMIT_MESSAGE: &str = "cannot create a thread: the maximum number of processes is reached (`ulimit -u`)";
/// The maximum number of worker threads. Transfers and checksums have threads of their own.
const MAX_WORKERS: usize = 8;

/// Runs `work` with signal handlers, reports its outcome, and returns the exit code. With `exits`, the process exits 10
/// s after the first signal, or at a second one; otherwise `work` decides when to end.
pub fn run<C: Classify, E>(
    exits: bool,
    format: Format,
    single_use: SingleUse<E>,
    work: impl AsyncFnOnce(&mut Signals) -> Result<(), Failure<C>>,
) -> u8 {
    // The runtime may install handlers, so the ignored signals are read first.
    let ignored = IgnoredSignals::at_start();
    let startup = Signals::catch(ignored, exits, single_use).and_then(|signals| Ok((signals, runtime()?)));
    let (mut signals, runtime) = match startup {
        Ok(startup) => startup,
        Err(error) => return start_error::<C>(error).report(format),
    };
    let code = runtime.block_on(work(&mut signals)).map_or_else(|failure| failure.report(format), |()| 0);
    signals.shut_down(runtime, code);
    code
}

/// Installs a panic hook that ends the process with an error if a thread cannot be created. `finish` waits for
/// single-use steps before that.
pub fn report_missing_threads<C: Classify>(format: Format, finish: fn(Duration)) {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_thread_failure(panic_message(info)) {
            return default_hook(info);
        }
        let _ = Failure::<C>::from(anyhow!(THREAD_LIMIT_MESSAGE)).report(format);
        finish(SINGLE_USE_LIMIT);
        #[expect(clippy::exit, reason = "the other threads may wait forever")]
        process::exit(FAILURE_CODE);
    }));
}

/// Starts the runtime of the command.
fn runtime() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads(cores.min(MAX_WORKERS)).enable_all().build()
}

/// Returns the failure for an error at the start of the command.
fn start_error<C: Classify>(error: io::Error) -> Failure<C> {
    match error.kind() {
        // Among the calls at the start, only the creation of a thread fails with this kind.
        io::ErrorKind::WouldBlock => anyhow!(THREAD_LIMIT_MESSAGE).into(),
        _ => error.into(),
    }
}

fn panic_message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref().copied()).unwrap_or_default()
}

/// Returns true if a panic message of the standard library or of tokio reports that a thread cannot be created.
fn is_thread_failure(message: &str) -> bool {
    ["failed to spawn thread", "can't spawn worker thread"].iter().any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_create_threads_are_recognized() {
        let error = std::io::Error::from_raw_os_error(11);
        assert!(is_thread_failure(&format!("failed to spawn thread: {error:?}")), "the standard library");
        assert!(is_thread_failure(&format!("OS can't spawn worker thread: {error}")), "tokio");
        assert!(!is_thread_failure("index out of bounds"));
    }
}
