//! Calls that can block for any time, such as reading from stdin, a pipe or a file system that does not respond.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own, which nothing waits for: when a signal drops the future, the command ends at once.
pub(crate) async fn detached<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("reader".to_owned()).spawn(move || {
        // The receiver is gone if a signal dropped it.
        let _ = sender.send(work());
    })?;
    receiver.await.map_err(io::Error::other)
}
