//! Critical sections: from before the first byte of a creating request is sent until its outcome is known.
//!
//! The platform cannot recognize a repeated request, and bills every accepted run. If the request is dropped, its
//! outcome is unknown. Before a process ends, it must check its sections, and poll their requests to completion.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, UncertainSubmission};

/// The critical sections of one or more clients
/// ([`Client::with_critical_sections`](crate::Client::with_critical_sections)). Clones are cheap and share their state.
///
/// Submitting a run and creating a grant or a share token are separate sections. A caller combines several steps into
/// one section with [`enter`](Self::enter).
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
///         // A submission that was sent is completed; one that was not is dropped.
///         if sections.is_open() { Ok(Some(submit.await?)) } else { Ok(None) }
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct CriticalSections(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    open: usize,
    is_closed: bool,
    next: u64,
    /// Requests without a known outcome, in the order of sending.
    creations: BTreeMap<u64, Creation>,
}

/// An object created by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Creation {
    /// A run. The platform bills it once accepted.
    Run(UncertainSubmission),
    /// A run of [`Client::raw`](crate::Client::raw), of which no data are known.
    UnknownRun,
    /// A grant.
    Grant,
    /// A share token. The platform returns its secret only in the response.
    ShareToken,
}

/// An open section. Dropping it closes the section.
#[must_use = "the section ends when this is dropped"]
pub struct CriticalSection(CriticalSections);

/// A request without a known outcome. It remains in the list if dropped before [`settle`](Self::settle).
#[must_use = "its outcome stays unknown"]
pub(crate) struct Pending {
    sections: CriticalSections,
    id: u64,
}

impl CriticalSections {
    /// Opens a section. Nested sections can be opened even after [`close`](Self::close).
    ///
    /// # Errors
    ///
    /// [`Error::is_canceled`]: no new section may be opened, and nothing may be sent.
    pub fn enter(&self) -> Result<CriticalSection, Error> {
        let mut state = self.state();
        if state.is_closed && state.open == 0 {
            return Err(Error::canceled());
        }
        state.open += 1;
        Ok(CriticalSection(self.clone()))
    }

    /// Returns true while a section is open. Its work must not be dropped yet.
    pub fn is_open(&self) -> bool {
        self.state().open > 0
    }

    /// Prevents new sections, except nested ones, because the process is about to end.
    pub fn close(&self) {
        self.state().is_closed = true;
    }

    /// Returns and removes the objects whose requests were sent and have no known outcome: the requests are in flight,
    /// or were dropped before the response.
    pub fn take_unresolved(&self) -> Vec<Creation> {
        std::mem::take(&mut self.state().creations).into_values().collect()
    }

    /// Records that the request for `creation` is about to be sent.
    pub(crate) fn begin(&self, creation: Creation) -> Pending {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.creations.insert(id, creation);
        Pending { sections: self.clone(), id }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Removes the request from the list, because its caller knows the outcome.
    pub(crate) fn settle(self) {
        self.sections.state().creations.remove(&self.id);
    }
}

impl Drop for CriticalSection {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

impl fmt::Debug for CriticalSection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CriticalSection").finish_non_exhaustive()
    }
}
