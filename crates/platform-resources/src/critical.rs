//! Critical sections of creating requests. A section starts before the first byte of the request is sent, and ends when
//! the outcome is known.
//!
//! The platform cannot recognize a repeated request, and bills each accepted run. If the future of a request is
//! dropped, the outcome is unknown. A process that is about to end must therefore check for open sections, and wait for
//! their requests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, UncertainSubmission};

/// The critical sections of one or more clients
/// ([`Client::with_critical_sections`](crate::Client::with_critical_sections)). Clones are cheap and share their state.
///
/// Each submission of a run and each creation of a grant or share token is a section. A caller can combine several
/// requests into one section with [`enter`](Self::enter).
///
/// ```no_run
/// use platform_resources::{Client, CriticalSections, Error, RunHandle, models::RunSubmission};
///
/// # async fn example(
/// #     client: Client, submission: RunSubmission, stop: impl Future<Output = ()>,
/// # ) -> Result<Option<RunHandle>, Error> {
/// let sections = CriticalSections::default();
/// let runs = client.with_critical_sections(&sections).runs();
/// let mut submit = std::pin::pin!(runs.submit(submission));
/// tokio::select! {
///     run = &mut submit => Ok(Some(run?)),
///     () = stop => {
///         sections.close();
///         // If the submission was sent, wait for its outcome.
///         if sections.is_open() { Ok(Some(submit.await?)) } else { Ok(None) }
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct CriticalSections(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    open_sections: usize,
    is_closed: bool,
    /// The id of the next creation.
    next_id: u64,
    /// The objects whose requests have no known outcome, in the order of the requests.
    creations: BTreeMap<u64, Creation>,
}

/// The object that a request creates.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Creation {
    /// A run. The platform bills it if it accepts the request.
    Run(UncertainSubmission),
    /// A run that [`Client::raw`](crate::Client::raw) submitted. Its items are unknown.
    UnknownRun,
    /// A grant.
    Grant,
    /// A share token. The platform returns its secret only in the response.
    ShareToken,
}

/// A guard for an open section. The section ends when the guard is dropped.
#[must_use = "the section ends when this is dropped"]
pub struct CriticalSection(CriticalSections);

/// A request without a known outcome. If it is dropped before [`mark_resolved`](Self::mark_resolved), the
/// outcome remains unknown.
#[must_use = "the outcome of the request remains unknown"]
pub(crate) struct PendingCreation {
    sections: CriticalSections,
    id: u64,
}

impl CriticalSections {
    /// Opens a section. After [`close`](Self::close), a section can be opened only while another section is open.
    ///
    /// # Errors
    ///
    /// [`Error::is_canceled`]: the sections are closed, and no request may be sent.
    pub fn enter(&self) -> Result<CriticalSection, Error> {
        let mut state = self.state();
        if state.is_closed && state.open_sections == 0 {
            return Err(Error::canceled());
        }
        state.open_sections += 1;
        Ok(CriticalSection(self.clone()))
    }

    /// Returns true while a section is open. The futures of its requests must not be dropped.
    pub fn is_open(&self) -> bool {
        self.state().open_sections > 0
    }

    /// Prevents new sections, except while a section is open. Call it when the process is about to end.
    pub fn close(&self) {
        self.state().is_closed = true;
    }

    /// Removes and returns the objects whose requests were sent and have no known outcome. These requests are in
    /// flight, or their futures were dropped before the response.
    pub fn take_unresolved(&self) -> Vec<Creation> {
        std::mem::take(&mut self.state().creations).into_values().collect()
    }

    /// Records that the request that creates `creation` is about to be sent.
    pub(crate) fn record_creation(&self, creation: Creation) -> PendingCreation {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        state.creations.insert(id, creation);
        PendingCreation { sections: self.clone(), id }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingCreation {
    /// Removes the request from the unresolved requests, because its outcome is returned to the caller.
    pub(crate) fn mark_resolved(self) {
        self.sections.state().creations.remove(&self.id);
    }
}

impl Drop for CriticalSection {
    fn drop(&mut self) {
        self.0.state().open_sections -= 1;
    }
}

impl fmt::Debug for CriticalSection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CriticalSection").finish_non_exhaustive()
    }
}
