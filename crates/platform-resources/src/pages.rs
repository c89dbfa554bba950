//! Paginated lists.
//!
//! Pages are prefetched: one at first, then two, four, and at most eight at a time. Pages beyond the caller's limit are
//! not requested. Entries are returned in order. A page that is not full is the last page. The platform may return 404
//! for a page beyond the end. This is an error only for the first page. The stream ends without an error only at the
//! end of the list. An entry that moves to another page between two requests is returned only once.
//!
//! Each page is fetched by a separate task, so that it can arrive while the reader of the list is busy. Dropping the
//! list aborts the tasks.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::Stream;
use platform_api::Operation;
use platform_api::models::{ApplicationSummary, Grant, Item, Run, ShareToken};
use platform_api::operations::{ListApplications, ListGrants, ListRunItems, ListRuns, ListShareTokens};
use tokio::task::JoinHandle;

use crate::core::{Core, Group};
use crate::error::Error;

/// The default page size, which is the maximum of the platform.
pub(crate) const PAGE_SIZE: i64 = 100;
/// The maximum number of pages in flight.
const MAX_IN_FLIGHT: usize = 8;

/// An operation that returns a page of a list.
pub(crate) trait Paged: Operation<Output = Vec<Self::Entry>> + Clone + 'static {
    type Entry: Clone + Send + Sync + 'static;
    const GROUP: Group;

    /// Returns the page size.
    fn size(&self) -> i64;
    /// Returns the operation for one page. The first page is 1.
    fn with_page_and_size(self, page: i64, size: i64) -> Self;
    /// Returns the id by which repeated entries are recognized.
    fn id(entry: &Self::Entry) -> &str;
}

macro_rules! paged {
    ($($operation:ident of $entry:ident by $id:ident in $group:ident;)+) => {
        $(impl Paged for $operation {
            type Entry = $entry;
            const GROUP: Group = Group::$group;

            fn size(&self) -> i64 {
                self.page_size.unwrap_or(PAGE_SIZE)
            }

            fn with_page_and_size(self, page: i64, size: i64) -> Self {
                self.with_page(page).with_page_size(size)
            }

            fn id(entry: &$entry) -> &str {
                entry.$id.as_str()
            }
        })+
    };
}

paged! {
    ListApplications of ApplicationSummary by application_id in Application;
    ListRuns of Run by run_id in Run;
    ListRunItems of Item by item_id in Run;
    ListGrants of Grant by grant_id in Access;
    ListShareTokens of ShareToken by share_token_id in Access;
}

type PageFuture<T> = BoxFuture<'static, Result<Vec<T>, Error>>;

/// The task that fetches a page. Dropping it aborts the task.
struct PageTask<T>(JoinHandle<Result<Vec<T>, Error>>);

impl<T> Drop for PageTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A stream of all entries of a list, in order. No request is sent before the first poll. The stream ends after its
/// first error. It must be polled within a Tokio runtime.
pub struct List<T> {
    fetch: Box<dyn Fn(i64) -> PageFuture<T> + Send>,
    id: fn(&T) -> &str,
    page_size: usize,
    limit: Option<usize>,
    /// The maximum number of pages in flight.
    max_in_flight: usize,
    /// The pages in flight, in order.
    page_tasks: VecDeque<PageTask<T>>,
    /// The number of the next page to request. The first page is 1.
    next_page: i64,
    /// The number of pages that have arrived.
    arrived_pages: usize,
    /// The entries that have arrived and were not returned yet.
    ready_entries: VecDeque<T>,
    /// The ids of all entries that have arrived.
    seen_ids: HashSet<String>,
    /// The number of entries that were returned.
    returned_count: usize,
    /// True if no further page is requested.
    has_ended: bool,
}

impl<T: Clone + Send + Sync + 'static> List<T> {
    pub(crate) fn of<O: Paged<Entry = T>>(core: &Core, operation: O) -> Self {
        let size = operation.size();
        let (first_page_core, other_pages_core) = (core.clone(), core.clone().with_mode(|mode| mode.no_wait = true));
        let fetch = move |page| {
            let core = if page == 1 { first_page_core.clone() } else { other_pages_core.clone() };
            let request = operation.clone().with_page_and_size(page, size);
            async move { core.read_cached(request, O::GROUP).await }.boxed()
        };
        Self {
            fetch: Box::new(fetch),
            id: O::id,
            page_size: usize::try_from(size).unwrap_or(1).max(1),
            limit: None,
            max_in_flight: MAX_IN_FLIGHT,
            page_tasks: VecDeque::new(),
            next_page: 1,
            arrived_pages: 0,
            ready_entries: VecDeque::new(),
            seen_ids: HashSet::new(),
            returned_count: 0,
            has_ended: false,
        }
    }
}

impl<T: Send + 'static> List<T> {
    /// Sets the maximum number of entries. Pages beyond it are not requested. Without a limit, all entries are
    /// returned.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Requests a page only when its first entry is needed. By default, pages are prefetched, and some requests are for
    /// pages after the last page.
    pub fn one_page_at_a_time(mut self) -> Self {
        self.max_in_flight = 1;
        self
    }

    /// Requests pages until the maximum number of pages is in flight.
    fn prefetch(&mut self) {
        // One page until the first page has arrived, then 2, 4 and 8.
        let max_tasks = 1_usize
            .checked_shl(u32::try_from(self.arrived_pages).unwrap_or(u32::MAX))
            .unwrap_or(MAX_IN_FLIGHT)
            .min(self.max_in_flight);
        let last_page = self.limit.map(|limit| limit.div_ceil(self.page_size).max(1));
        while self.page_tasks.len() < max_tasks
            && last_page.is_none_or(|last_page| usize::try_from(self.next_page).is_ok_and(|page| page <= last_page))
        {
            self.page_tasks.push_back(PageTask(tokio::spawn((self.fetch)(self.next_page))));
            self.next_page += 1;
        }
    }

    /// Adds the entries of the next page.
    fn add_page(&mut self, page: Result<Vec<T>, Error>) -> Result<(), Error> {
        let entries = match page {
            Err(error) if error.is_not_found() && self.arrived_pages > 0 => Vec::new(),
            page => page?,
        };
        self.arrived_pages += 1;
        if entries.len() < self.page_size {
            self.has_ended = true;
            self.page_tasks.clear();
        }
        for entry in entries {
            if self.seen_ids.insert((self.id)(&entry).to_owned()) {
                self.ready_entries.push_back(entry);
            }
        }
        Ok(())
    }
}

impl<T: Send + Unpin + 'static> Stream for List<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let list = &mut *self;
        loop {
            if list.limit.is_some_and(|limit| list.returned_count >= limit) {
                list.page_tasks.clear();
                return Poll::Ready(None);
            }
            if let Some(entry) = list.ready_entries.pop_front() {
                list.returned_count += 1;
                return Poll::Ready(Some(Ok(entry)));
            }
            if list.has_ended {
                return Poll::Ready(None);
            }
            list.prefetch();
            let Some(next_task) = list.page_tasks.front_mut() else { return Poll::Ready(None) };
            let page = ready!(Pin::new(&mut next_task.0).poll(context));
            list.page_tasks.pop_front();
            // A task in this queue is not aborted. It fails only if it panics or its runtime shuts down.
            let page = page.unwrap_or_else(|_| Err(Error::cache_type_mismatch()));
            if let Err(error) = list.add_page(page) {
                list.has_ended = true;
                list.page_tasks.clear();
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("List")
            .field("returned", &self.returned_count)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
