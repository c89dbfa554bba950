use std::fmt;
use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime of one thread, for callers who block: what they call is the asynchronous code, on it.
pub struct BlockingRuntime {
    /// Taken only when this is dropped.
    runtime: Option<Runtime>,
}

/// A blocking call inside an asynchronous runtime, whose thread it would hold up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blocking call inside an asynchronous runtime would hold up its thread: make the asynchronous call there")]
#[non_exhaustive]
pub struct InsideRuntime;

impl BlockingRuntime {
    /// Starts the thread, which bears this name.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn new(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Waits for `work`.
    ///
    /// # Errors
    ///
    /// [`InsideRuntime`]: nothing was begun.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, InsideRuntime> {
        match &self.runtime {
            Some(runtime) if Handle::try_current().is_err() => Ok(runtime.block_on(work)),
            _ => Err(InsideRuntime),
        }
    }
}

impl Drop for BlockingRuntime {
    /// Without waiting, as it may be dropped where nobody may wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for BlockingRuntime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BlockingRuntime")
    }
}
