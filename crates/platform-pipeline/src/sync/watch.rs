use std::time::Duration;

use super::cause::is_transient;
use super::{RunSync, SyncReport};
use crate::error::Error;

impl RunSync {
    /// Calls [`execute`](Self::execute) repeatedly with a pause of `interval` between the calls, and passes each report
    /// to `observe`. Continues after a transient error. Returns the first permanent error of a call or in
    /// [`SyncReport::stopped`], or the first error of `observe`.
    ///
    /// # Errors
    ///
    /// The call always ends with an error, as described above.
    #[expect(clippy::disallowed_methods, reason = "the platform cannot notify clients")]
    pub async fn watch<E: From<Error>>(
        &self,
        interval: Duration,
        mut observe: impl FnMut(Result<&SyncReport, &Error>) -> Result<(), E>,
    ) -> E {
        loop {
            let outcome = Box::pin(self.execute()).await;
            if let Err(error) = observe(outcome.as_ref()) {
                return error;
            }
            let stopped = match outcome {
                Ok(report) => report.stopped,
                Err(error) => Some(error),
            };
            if let Some(error) = stopped.filter(|error| !may_succeed_later(error)) {
                return error.into();
            }
            tokio::time::sleep(interval).await;
        }
    }
}

/// Returns true if the next call may succeed: the platform or the store is unavailable, or another process uses the
/// folder.
fn may_succeed_later(error: &Error) -> bool {
    is_transient(error) || error.folder().is_some_and(|error| error.is_locked() || error.is_transient())
}
