//! Redemptions, which must not be interrupted between sending a single-use credential and storing its replacement.
//!
//! The attempts to obtain a token are registered as *sections*. A section can be canceled until the provider begins a
//! redemption. From then on it is *critical*: the end of the process or of the source waits for it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::{TokenError, source::background};

/// Marks the start of a redemption. Call it immediately before sending a single-use credential.
///
/// In an attempt of a [`TokenSource`](crate::TokenSource), the redemption lasts until the new token is stored, even if
/// the returned guard is dropped earlier. Without a source, such as in a first login, it lasts until the guard is
/// dropped. [`Redemption::unused`] ends it in both cases.
///
/// # Errors
///
/// [`TokenError::is_canceled`]: the source or the process is shutting down. The credential must not be sent.
pub fn begin_redemption() -> Result<Redemption, TokenError> {
    if let Ok(section) = SECTION.try_with(Clone::clone) {
        section.begin_redemption().map(|()| Redemption(section))
    } else {
        let section = Section::new(None);
        section.begin_redemption().map(|()| Redemption(section))
    }
}

/// Waits at most `limit` for all redemptions of the process, and prevents new ones. Blocks the thread. Call it at the
/// end of the process if token sources may still exist, such as before [`std::process::exit`]. After it has returned an
/// error, dropping a source no longer waits.
///
/// # Errors
///
/// [`Unfinished`] if a redemption did not end in time, or its token could not be stored: a login may be lost.
pub fn finish_redemptions(limit: Duration) -> Result<(), Unfinished> {
    registry().finish_sections(None, limit)
}

/// Returns true while a redemption without a token source is in progress, such as that of a first login. Dropping its
/// future would interrupt it.
pub fn has_redemption_without_source() -> bool {
    registry().sections().open.values().any(|state| state.owner.is_none() && state.phase == Phase::Critical)
}

/// Returns true while any redemption of the process is in progress, with or without a token source.
pub fn has_redemptions() -> bool {
    registry().sections().open.values().any(|state| state.phase == Phase::Critical)
}

/// A redemption in progress. See [`begin_redemption`].
#[derive(Debug)]
#[must_use = "the redemption ends when this is dropped"]
pub struct Redemption(Section);

impl Redemption {
    /// Ends the redemption, because the server has not consumed the credential. The end of the process or of the source
    /// then does not wait for it. Call [`begin_redemption`] again before sending the credential again.
    pub fn unused(self) {
        self.0.end_redemption();
    }
}

/// The error of redemptions that did not end in time, or whose tokens could not be stored.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unfinished(UnfinishedKind);

#[derive(Clone, Debug, thiserror::Error)]
enum UnfinishedKind {
    #[error(
        "the login may be lost: the identity provider did not respond to a refresh in time; log in again if it is \
         refused"
    )]
    NoResponse,
    #[error("the login is lost: the new refresh token could not be stored; make the store writable and log in again")]
    Unstored(#[source] Box<TokenError>),
}

impl Unfinished {
    /// Returns true if a new token was received and could not be stored.
    pub fn is_unstored(&self) -> bool {
        matches!(self.0, UnfinishedKind::Unstored(_))
    }
}

/// The maximum time for which the end of a source or process waits for a store to delete a rejected token.
const MAX_DELETION_WAIT: Duration = Duration::from_millis(250);

tokio::task_local! {
    /// The section of the running attempt.
    static SECTION: Section;
}

/// A handle to the registry entry of an attempt. The entry is removed when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Section(Arc<Entry>);

struct Entry {
    id: u64,
    cancellation: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Cancelable,
    Canceled,
    Critical,
    /// A store is deleting a rejected token. The end of the source waits for the deletion, at most
    /// [`MAX_DELETION_WAIT`].
    Deleting,
}

struct SectionState {
    owner: Option<u64>,
    phase: Phase,
    cancellation: Arc<Notify>,
    /// The reason why the token of the section could not be stored yet.
    store_error: Option<TokenError>,
}

#[derive(Default)]
struct Registry {
    sections: Mutex<Sections>,
    changed: Condvar,
}

#[derive(Default)]
struct Sections {
    /// The last number that was assigned to a section or an owner.
    last_id: u64,
    /// True once no redemption may begin, because the process is ending.
    is_closing: bool,
    /// True once the process has stopped waiting for redemptions.
    is_abandoned: bool,
    open: HashMap<u64, SectionState>,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::default)
}

/// Returns a unique number for a source, which identifies the sections that belong to it.
pub(crate) fn new_owner_id() -> u64 {
    let mut sections = registry().sections();
    sections.last_id += 1;
    sections.last_id
}

/// Closes `owner`, cancels its sections that have not begun a redemption, and waits at most `limit` for the others.
/// Does nothing if `owner` is already closed.
pub(crate) fn close_owner(owner: u64, is_closed: &AtomicBool, limit: Duration) -> Result<(), Unfinished> {
    {
        // The registry is locked during the change. A new section is therefore found by `finish_sections`, or finds its
        // owner closed.
        let _sections = registry().sections();
        if is_closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
    }
    registry().finish_sections(Some(owner), limit)
}

impl Section {
    /// Opens a section of `owner`. If the owner is closed, the section is canceled immediately.
    pub(crate) fn new(owner: Option<(u64, &AtomicBool)>) -> Self {
        let mut sections = registry().sections();
        // The registry is locked during the read: see `close_owner`.
        let is_closed = owner.is_some_and(|(_, is_closed)| is_closed.load(Ordering::SeqCst));
        let phase = if is_closed { Phase::Canceled } else { Phase::Cancelable };
        Self::open(&mut sections, owner.map(|(id, _)| id), phase)
    }

    /// Opens a section of `owner` for the deletion of a rejected token. No login is lost if the deletion is
    /// interrupted.
    pub(crate) fn for_deletion(owner: u64) -> Self {
        Self::open(&mut registry().sections(), Some(owner), Phase::Deleting)
    }

    fn open(sections: &mut Sections, owner: Option<u64>, phase: Phase) -> Self {
        let cancellation = Arc::new(Notify::new());
        if phase == Phase::Canceled {
            cancellation.notify_one();
        }
        sections.last_id += 1;
        let id = sections.last_id;
        sections.open.insert(id, SectionState { owner, phase, cancellation: cancellation.clone(), store_error: None });
        Self(Arc::new(Entry { id, cancellation }))
    }

    /// Makes the section critical.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_canceled`]: the section was canceled, or the process is ending.
    pub(crate) fn begin_redemption(&self) -> Result<(), TokenError> {
        let mut sections = registry().sections();
        let is_closing = sections.is_closing;
        match sections.open.get_mut(&self.0.id) {
            Some(state) if state.phase == Phase::Critical => Ok(()),
            Some(state) if state.phase == Phase::Cancelable && !is_closing => {
                state.phase = Phase::Critical;
                Ok(())
            }
            _ => Err(TokenError::canceled()),
        }
    }

    /// Returns true while a redemption is in progress.
    pub(crate) fn is_critical(&self) -> bool {
        registry().sections().open.get(&self.0.id).is_some_and(|state| state.phase == Phase::Critical)
    }

    /// Makes the section cancelable again, because no redemption is in progress.
    pub(crate) fn end_redemption(&self) {
        if let Some(state) = registry().sections().open.get_mut(&self.0.id) {
            state.phase = Phase::Cancelable;
            state.store_error = None;
        }
        registry().changed.notify_all();
    }

    /// Records the reason why the token of the section could not be stored.
    pub(crate) fn set_store_error(&self, error: Option<TokenError>) {
        if let Some(state) = registry().sections().open.get_mut(&self.0.id) {
            state.store_error = error;
        }
    }

    /// Runs `work` to completion. Returns `None` if the section is canceled first.
    pub(crate) async fn run<T>(self, work: impl Future<Output = T>) -> Option<T> {
        let cancellation = self.0.cancellation.clone();
        let mut work = std::pin::pin!(SECTION.scope(self, work));
        let mut canceled = std::pin::pin!(cancellation.notified());
        std::future::poll_fn(|context| {
            if canceled.as_mut().poll(context).is_ready() {
                return std::task::Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        registry().sections().open.remove(&self.id);
        registry().changed.notify_all();
    }
}

impl Registry {
    fn sections(&self) -> MutexGuard<'_, Sections> {
        self.sections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels the cancelable sections of `owner`, or of all owners, and waits at most `limit` for the others.
    fn finish_sections(&self, owner: Option<u64>, limit: Duration) -> Result<(), Unfinished> {
        let mut sections = self.sections();
        sections.is_closing |= owner.is_none();
        sections.cancel(owner);
        // The background thread must not wait for its own tasks. Once the process has stopped waiting, its sources do
        // not wait, either.
        let must_not_wait = background::is_background_thread() || (owner.is_some() && sections.is_abandoned);
        let limit = if must_not_wait { Duration::ZERO } else { limit };
        let deletion_limit = limit.min(MAX_DELETION_WAIT);
        let has_open_section = |sections: &mut Sections| sections.owned_by(owner).next().is_some();
        let wait_result = self.changed.wait_timeout_while(sections, deletion_limit, has_open_section);
        let (sections, _) = wait_result.unwrap_or_else(PoisonError::into_inner);
        let has_attempt =
            |sections: &mut Sections| sections.owned_by(owner).any(|state| state.phase != Phase::Deleting);
        let remaining = limit.saturating_sub(deletion_limit);
        let wait_result = self.changed.wait_timeout_while(sections, remaining, has_attempt);
        let (mut sections, timeout) = wait_result.unwrap_or_else(PoisonError::into_inner);
        if !timeout.timed_out() || must_not_wait {
            return Ok(());
        }
        sections.is_abandoned |= owner.is_none();
        let is_critical = |state: &&SectionState| state.phase == Phase::Critical;
        let critical_sections: Vec<_> = sections.owned_by(owner).filter(is_critical).collect();
        match critical_sections.iter().find_map(|state| state.store_error.clone()) {
            Some(error) => Err(Unfinished(UnfinishedKind::Unstored(Box::new(error)))),
            None if critical_sections.is_empty() => Ok(()),
            None => Err(Unfinished(UnfinishedKind::NoResponse)),
        }
    }
}

impl Sections {
    fn owned_by(&self, owner: Option<u64>) -> impl Iterator<Item = &SectionState> {
        self.open.values().filter(move |state| owner.is_none() || state.owner == owner)
    }

    fn cancel(&mut self, owner: Option<u64>) {
        for state in self.open.values_mut().filter(|state| owner.is_none() || state.owner == owner) {
            if state.phase == Phase::Cancelable {
                state.phase = Phase::Canceled;
                state.cancellation.notify_one();
            }
        }
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Section").field(&self.0.id).finish()
    }
}
