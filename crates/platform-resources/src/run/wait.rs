use std::collections::HashSet;
use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, Stream};
use platform_api::models::{Item, ItemId, Run, RunState};

use super::RunHandle;
use super::poll::{Poll, Snapshot};
use crate::{Error, ItemOutcome};

/// An event of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RunEvent {
    /// An item has ended, with any outcome.
    ItemEnded(Box<Item>),
    /// The run has ended, with any outcome. This is the last event.
    Ended(Box<Run>),
}

/// The state of an event stream.
struct WatchState {
    poll: Poll,
    reported_items: HashSet<ItemId>,
    events: VecDeque<RunEvent>,
    has_ended: bool,
}

impl RunHandle {
    /// Waits until the run has ended, and returns it. `time` is the maximum time to wait; `None` waits without a limit.
    /// Transient failures are retried within the [limit for transfers](crate::RetrySettings::transfer_limit).
    ///
    /// # Errors
    ///
    /// [`Error::is_unfinished`]: the run did not end within `time`. Otherwise a request failed.
    pub async fn wait(&self, time: Option<Duration>) -> Result<Run, Error> {
        let run_end = async {
            let mut poll = Poll::new(self.clone());
            loop {
                // Only the run is requested, because the items are not needed.
                let run = poll.clone().poll_run().await?;
                if run.state == RunState::Terminated {
                    return Ok(run);
                }
                poll.record_news(false);
            }
        };
        match time {
            None => run_end.await,
            Some(time) => tokio::time::timeout(time, run_end).await.map_err(|_| Error::unfinished())?,
        }
    }

    /// Returns a stream of events: one event for each item that has ended or ends, and then the end of the run. The
    /// stream ends after its first error.
    pub fn watch(&self) -> impl Stream<Item = Result<RunEvent, Error>> + Send + use<> {
        let poll = Poll::new(self.clone());
        let watch = WatchState { poll, reported_items: HashSet::new(), events: VecDeque::new(), has_ended: false };
        stream::try_unfold(watch, |mut watch| async move {
            loop {
                if let Some(event) = watch.events.pop_front() {
                    return Ok(Some((event, watch)));
                }
                if watch.has_ended {
                    return Ok(None);
                }
                watch.poll_once().await?;
            }
        })
    }
}

impl WatchState {
    async fn poll_once(&mut self) -> Result<(), Error> {
        let mut snapshot: Snapshot<Vec<Item>> = self.poll.clone().snapshot(false, |item| item).await?;
        sort_by_end(&mut snapshot.items);
        let reported_before = self.reported_items.len();
        self.has_ended = snapshot.has_run_ended();
        for item in snapshot.items {
            let has_item_ended = self.has_ended || ItemOutcome::of(&item) != ItemOutcome::InProgress;
            if has_item_ended && self.reported_items.insert(item.item_id.clone()) {
                self.events.push_back(RunEvent::ItemEnded(Box::new(item)));
            }
        }
        if self.has_ended {
            self.events.push_back(RunEvent::Ended(Box::new(snapshot.run)));
        }
        self.poll.record_news(self.reported_items.len() > reported_before);
        Ok(())
    }
}

/// Sorts items by their end, so that a caller can resume after the latest end that it has received.
fn sort_by_end(items: &mut [Item]) {
    items.sort_by_key(|item| item.terminated_at.map(SystemTime::from));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_reported_in_the_order_in_which_they_ended() {
        let item = |id: &str, end: Option<&str>| -> Item {
            serde_json::from_value(json!({ "item_id": id, "external_id": id, "state": "TERMINATED", "output": "FULL",
                "terminated_at": end, "input_artifacts": [], "output_artifacts": [] }))
            .unwrap()
        };
        let mut items = [
            item("newest", Some("2026-11-25T11:00:00Z")),
            item("none", None),
            item("oldest", Some("2026-11-25T08:00:00Z")),
            item("middle", Some("2026-11-25T09:30:00Z")),
        ];
        sort_by_end(&mut items);
        assert_eq!(items.map(|item| item.external_id), ["none", "oldest", "middle", "newest"]);
    }
}
