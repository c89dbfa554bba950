//! Detection of the items of a run that ended since the last poll, without reading all items again.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use platform_api::models::{Item, ItemId, RunStatistics};
use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::Error;
use crate::pages::PAGE_SIZE;

/// Returns the number of items in a full page.
fn page_size() -> usize {
    usize::try_from(PAGE_SIZE).unwrap_or(1)
}

/// The time span before the latest known end of an item for which each poll reads ended items again. Items can end at
/// the same time, be committed out of order, or appear late on a replica.
pub const OVERLAP: Duration = Duration::from_secs(60);

/// The first half of the SHA-256 of an item id. It is stored instead of the id, because a run can have very many items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(crate) struct ItemKey(u128);

impl ItemKey {
    pub(crate) fn of(id: &ItemId) -> Self {
        let digest = sha2::Sha256::digest(id.as_str());
        Self(digest.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte)))
    }
}

/// The items that are known to have ended.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedItems {
    known_keys: HashSet<ItemKey>,
    /// The latest known end of an item.
    latest_end: Option<SystemTime>,
}

impl EndedItems {
    /// Returns the items that ended since the last call. Reads pages of ended items, newest first. Stops when it has
    /// found all new items that `statistics` counts, or when the items ended more than [`OVERLAP`] before the latest
    /// known end. Sends no request if `statistics` counts no new items. `read` returns a page. The first page is 1.
    pub(super) async fn new_items<F>(
        &self,
        statistics: &RunStatistics,
        read: impl Fn(i64) -> F,
    ) -> Result<Vec<Item>, Error>
    where
        F: Future<Output = Result<Vec<Item>, Error>>,
    {
        let expected = ended_count(statistics).saturating_sub(self.known_keys.len());
        let overlap_start = self.latest_end.and_then(|latest_end| latest_end.checked_sub(OVERLAP));
        let (mut new_items, mut new_keys) = (Vec::new(), HashSet::new());
        let mut page = 1;
        while new_items.len() < expected {
            let items = match read(page).await {
                // The page is beyond the last one.
                Err(error) if page > 1 && error.is_not_found() => break,
                items => items?,
            };
            let is_last = items.len() < page_size();
            let is_before_overlap =
                |item: &Item| end(item).zip(overlap_start).is_some_and(|(end, overlap_start)| end < overlap_start);
            let has_passed_overlap = items.iter().any(is_before_overlap);
            for item in items {
                let key = ItemKey::of(&item.item_id);
                if !self.known_keys.contains(&key) && new_keys.insert(key) {
                    new_items.push(item);
                }
            }
            if is_last || has_passed_overlap {
                break;
            }
            page += 1;
        }
        Ok(new_items)
    }

    /// Records an item that has ended.
    pub(super) fn record(&mut self, item: &Item) {
        self.known_keys.insert(ItemKey::of(&item.item_id));
        self.latest_end = self.latest_end.max(end(item));
    }

    /// Returns true if all items of the run are known to have ended.
    pub(super) fn is_complete(&self, statistics: &RunStatistics) -> bool {
        usize::try_from(statistics.item_count).is_ok_and(|count| self.known_keys.len() >= count)
    }
}

fn end(item: &Item) -> Option<SystemTime> {
    item.terminated_at.map(SystemTime::from)
}

/// Returns the number of items that have ended.
pub(super) fn ended_count(statistics: &RunStatistics) -> usize {
    let unfinished = statistics.item_pending_count + statistics.item_processing_count;
    usize::try_from(statistics.item_count - unfinished).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;
    use std::time::SystemTime;

    use futures_util::FutureExt;
    use platform_api::Timestamp;
    use serde_json::json;

    use super::*;

    /// A simulated platform that counts requests.
    #[derive(Default)]
    struct Platform {
        /// The ended items, ordered by their end.
        items: Vec<Item>,
        /// The number of all items of the run.
        item_count: usize,
        request_count: Cell<usize>,
    }

    impl Platform {
        /// Ends an item at the time `second`, in seconds since 1970.
        fn end_item(&mut self, id: usize, second: u64) {
            let end_time = Timestamp::try_from(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
            let item = json!({ "item_id": format!("{id}"), "external_id": format!("{id}"), "state": "TERMINATED",
                "output": "FULL", "terminated_at": end_time, "input_artifacts": [], "output_artifacts": [] });
            let item: Item = serde_json::from_value(item).unwrap();
            let index = self.items.partition_point(|other| super::end(other) < super::end(&item));
            self.items.insert(index, item);
        }

        fn statistics(&self) -> RunStatistics {
            self.request_count.set(self.request_count.get() + 1);
            let (all, ended) = (self.item_count, self.items.len());
            serde_json::from_value(json!({ "item_count": all, "item_pending_count": all - ended,
                "item_processing_count": 0, "item_user_error_count": 0, "item_system_error_count": 0,
                "item_skipped_count": 0, "item_succeeded_count": ended }))
            .unwrap()
        }

        fn page(&self, page: i64) -> Vec<Item> {
            self.request_count.set(self.request_count.get() + 1);
            let skipped = page_size() * (usize::try_from(page).unwrap() - 1);
            self.items.iter().rev().skip(skipped).take(page_size()).cloned().collect()
        }

        fn poll(&self, ended: &mut EndedItems) -> Vec<String> {
            let statistics = self.statistics();
            let new_items =
                ended.new_items(&statistics, |page| ready(Ok(self.page(page)))).now_or_never().unwrap().unwrap();
            for item in &new_items {
                ended.record(item);
            }
            new_items.into_iter().map(|item| item.external_id).collect()
        }
    }

    #[test]
    fn number_of_requests_depends_on_polls_and_not_on_items() {
        let (items, polls) = (10_000, 500);
        let mut platform = Platform { item_count: items, ..Platform::default() };
        let (mut ended, mut reported) = (EndedItems::default(), Vec::new());
        for poll in 0..polls {
            reported.extend(platform.poll(&mut ended));
            for item in 0..items / polls {
                platform.end_item(poll * (items / polls) + item, poll as u64);
            }
        }
        reported.extend(platform.poll(&mut ended));
        reported.sort();
        reported.dedup();
        assert!(reported.len() == items && ended.is_complete(&platform.statistics()), "{}", reported.len());
        let requests = platform.request_count.get();
        assert!(requests <= 1_002, "{requests} requests in {} polls", polls + 1);
    }

    #[test]
    fn unchanged_statistics_cause_no_request_for_items() {
        let mut platform = Platform { item_count: 10, ..Platform::default() };
        let mut ended = EndedItems::default();
        assert!(platform.poll(&mut ended).is_empty());
        platform.end_item(1, 7);
        assert_eq!(platform.poll(&mut ended), ["1"]);
        assert!(platform.poll(&mut ended).is_empty());
        assert_eq!(platform.request_count.get(), 4, "three requests for the run and one for items");
    }

    #[test]
    fn items_within_the_overlap_are_found() {
        let mut platform = Platform { item_count: 1000, ..Platform::default() };
        let mut ended = EndedItems::default();
        for id in 0..400 {
            platform.end_item(id, if id < 150 { 1_000 } else { 500 });
        }
        assert_eq!(platform.poll(&mut ended).len(), 400);
        // These items ended at the same time as others, and were committed late.
        platform.end_item(500, 1_000);
        platform.end_item(501, 950);
        assert_eq!(platform.poll(&mut ended).len(), 2);
        // This item is before the overlap: it is found only at the end of the run.
        platform.end_item(502, 100);
        platform.end_item(503, 1_001);
        assert_eq!(platform.poll(&mut ended).len(), 1);
        assert!(!ended.is_complete(&platform.statistics()));
    }
}
