//! The background thread that obtains tokens. It belongs to the process and not to a runtime, so that a refresh
//! continues after its caller and the caller's runtime are gone.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::TokenError;

pub(crate) use imp::{is_background_thread, sleep, sleep_on_caller_runtime, spawn};

/// Runs `work` on the background thread, and blocks the calling thread until it ends. If the calling thread belongs to
/// a runtime, that runtime is blocked too.
///
/// # Errors
///
/// The function was called on the background thread itself, which would deadlock; the background thread could not be
/// started; or `work` panicked.
pub(crate) fn block_on<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, TokenError> {
    imp::block_on(work)
}

/// Calls a blocking function on a separate thread.
///
/// # Errors
///
/// The thread could not be started, or the function panicked.
pub(crate) async fn call_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TokenError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // If `work` panics, the sender is dropped without a value, and `receiver` returns an error.
    let run = move || {
        if let Ok(outcome) = catch_unwind(AssertUnwindSafe(work)) {
            drop(sender.send(outcome));
        }
    };
    crate::source::sync::thread::Builder::new()
        .name("token provider".to_owned())
        .spawn(run)
        .map_err(TokenError::provider)?;
    receiver.await.map_err(|_| TokenError::panicked())
}

#[cfg(not(test))]
mod imp {
    use std::cell::Cell;
    use std::future::Future;
    use std::sync::{OnceLock, mpsc};
    use std::time::Duration;

    use tokio::runtime::{Builder, Handle};

    use crate::TokenError;

    thread_local! {
        static IS_BACKGROUND: Cell<bool> = const { Cell::new(false) };
    }

    /// Returns the runtime of the background thread, which the first call starts.
    fn runtime() -> Result<&'static Handle, TokenError> {
        static RUNTIME: OnceLock<Result<Handle, TokenError>> = OnceLock::new();
        RUNTIME.get_or_init(start_thread).as_ref().map_err(Clone::clone)
    }

    fn start_thread() -> Result<Handle, TokenError> {
        let (sender, receiver) = mpsc::channel();
        let run = move || {
            IS_BACKGROUND.set(true);
            // The runtime is built on this thread. If the caller built it and the thread could not be started, the
            // caller would drop it, which panics inside another runtime.
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    drop(sender.send(Ok(runtime.handle().clone())));
                    runtime.block_on(std::future::pending::<()>());
                }
                Err(error) => drop(sender.send(Err(error))),
            }
        };
        std::thread::Builder::new().name("token refresh".to_owned()).spawn(run).map_err(TokenError::provider)?;
        receiver.recv().map_err(|_| TokenError::panicked())?.map_err(TokenError::provider)
    }

    /// Spawns `work` on the background thread.
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<(), TokenError> {
        runtime().map(|runtime| drop(runtime.spawn(work)))
    }

    /// Returns true on the background thread itself.
    pub(crate) fn is_background_thread() -> bool {
        IS_BACKGROUND.get()
    }

    /// Sleeps with the timer of the background thread.
    pub(crate) async fn sleep(time: Duration) {
        let Ok(runtime) = runtime() else { return };
        // A tokio timer belongs to the runtime in whose context it is created.
        let runtime_context = runtime.enter();
        let sleep = sleep_on_caller_runtime(time);
        drop(runtime_context);
        sleep.await;
    }

    /// Sleeps with the timer of the caller's runtime.
    #[expect(
        clippy::disallowed_methods,
        reason = "for the attempt timeout and the backoff between attempts to store a token"
    )]
    pub(crate) fn sleep_on_caller_runtime(time: Duration) -> tokio::time::Sleep {
        tokio::time::sleep(time)
    }

    pub(super) fn block_on<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, TokenError> {
        if is_background_thread() {
            return Err(TokenError::provider("a blocking call on the thread that obtains tokens would wait forever"));
        }
        let (sender, receiver) = mpsc::channel();
        spawn(async move { drop(sender.send(work.await)) })?;
        receiver.recv().map_err(|_| TokenError::panicked())
    }
}

/// The implementation for unit tests, in which the scheduler of `shuttle` controls all threads.
#[cfg(test)]
mod imp {
    use std::future::Future;
    use std::time::Duration;

    use crate::TokenError;

    #[expect(clippy::unnecessary_wraps, reason = "same signature as in production")]
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<(), TokenError> {
        drop(shuttle::thread::spawn(move || shuttle::future::block_on(work)));
        Ok(())
    }

    /// Returns true, so that callers do not wait on a condition variable that the scheduler does not control.
    pub(crate) fn is_background_thread() -> bool {
        true
    }

    /// Yields several times instead of sleeping, because the scheduler has no clock.
    pub(crate) async fn sleep(_time: Duration) {
        for _ in 0..40 {
            shuttle::future::yield_now().await;
        }
    }

    pub(crate) use sleep as sleep_on_caller_runtime;

    #[expect(clippy::unnecessary_wraps, reason = "same signature as in production")]
    pub(super) fn block_on<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, TokenError> {
        Ok(shuttle::future::block_on(work))
    }
}
