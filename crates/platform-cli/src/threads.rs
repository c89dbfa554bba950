//! Threads that the system does not create. Login nodes and shared hosts limit the processes of a user (`ulimit -u`), and
//! threads count. The libraries panic then: on any thread, so that the others may wait forever.

use std::panic::{self, PanicHookInfo};
use std::process;

use anyhow::anyhow;

use crate::exit::Failure;
use crate::output::Format;
use crate::signals::REDEMPTION_LIMIT;

/// The exit code of a failure on this side.
const CODE: i32 = 1;

/// Ends the process with an error when a thread cannot be created.
pub(crate) fn end_without_threads(format: Format) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_about_threads(message(info)) {
            return before(info);
        }
        let text = "cannot create a thread: the maximum number of processes is reached (`ulimit -u`)";
        let _ = Failure::from(anyhow!(text)).report(format);
        // A login whose refresh token was sent is not lost.
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
