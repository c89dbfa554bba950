//! Reads that can block indefinitely, such as from stdin, a pipe or an unresponsive file system.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::thread;

use tokio::sync::oneshot;

/// Runs `work` on a detached thread. When a signal drops the future, the command can end even while `work` is blocked.
///
/// # Errors
///
/// The thread cannot be created.
pub async fn detached<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("reader".to_owned()).spawn(move || {
        // The receiver is gone if a signal dropped it.
        let _ = sender.send(work());
    })?;
    receiver.await.map_err(io::Error::other)
}

/// Reads a file, or stdin if the path is `-`.
///
/// # Errors
///
/// The file cannot be read.
pub async fn read(path: impl Into<PathBuf>) -> io::Result<Vec<u8>> {
    let path = path.into();
    detached(move || {
        if path.as_os_str() != "-" {
            return fs::read(path);
        }
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    })
    .await?
}

/// Reads a text file, or stdin if the path is `-`.
///
/// # Errors
///
/// The file cannot be read, or is not valid UTF-8.
pub async fn read_text(path: impl Into<PathBuf>) -> io::Result<String> {
    let path = path.into();
    let is_stdin = path.as_os_str() == "-";
    detached(move || if is_stdin { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) }).await?
}
