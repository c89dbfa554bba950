//! Calls that can block indefinitely, such as reading from stdin, a pipe or an unresponsive file system.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Runs `work` on a detached thread: when a signal drops the future, the command ends immediately.
pub(crate) async fn detached<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("reader".to_owned()).spawn(move || {
        // The receiver is gone if a signal dropped it.
        let _ = sender.send(work());
    })?;
    receiver.await.map_err(io::Error::other)
}
