use std::fmt;
use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime with one worker thread, which runs asynchronous code for blocking callers.
pub struct BlockingRuntime {
    /// `None` only while the value is dropped.
    runtime: Option<Runtime>,
}

/// The error of a blocking call made inside an asynchronous runtime, where it would block a worker thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blocking call inside an asynchronous runtime blocks its thread: use the asynchronous call")]
#[non_exhaustive]
pub struct InsideRuntimeError;

impl BlockingRuntime {
    /// Starts the worker thread. `name` is its thread name.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn new(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Blocks until `work` completes.
    ///
    /// # Errors
    ///
    /// [`InsideRuntimeError`] if the caller is inside an asynchronous runtime. `work` is not started.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, InsideRuntimeError> {
        match &self.runtime {
            Some(runtime) if Handle::try_current().is_err() => Ok(runtime.block_on(work)),
            _ => Err(InsideRuntimeError),
        }
    }
}

impl Drop for BlockingRuntime {
    /// Does not wait for running tasks: the value may be dropped on a thread of another runtime, which must not block.
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
