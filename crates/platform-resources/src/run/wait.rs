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
    /// The run has ended, with any outcome: the last event.
    Ended(Box<Run>),
}

/// The progress of a watcher.
struct Watch {
    poll: Poll,
    seen: HashSet<ItemId>,
    events: VecDeque<RunEvent>,
    ended: bool,
}

impl RunHandle {
    /// Waits until the run has ended, at most for `time` if given. A platform that is unreachable or failing is polled
    /// again for a while.
    ///
    /// # Errors
    ///
    /// [`Error::is_unfinished`], or a request failed.
    pub async fn wait(&self, time: Option<Duration>) -> Result<Run, Error> {
        let ends = async {
            let mut poll = Poll::new(self.clone());
            loop {
                // Items are not needed, so none are requested before the end.
                let run = poll.clone().run().await?;
                if run.state == RunState::Terminated {
                    return Ok(run);
                }
                poll.learn(false);
            }
        };
        match time {
            None => ends.await,
            Some(time) => tokio::time::timeout(time, ends).await.map_err(|_| Error::unfinished())?,
        }
    }

    /// Returns a stream of events: each item that has ended or ends, and the end of the run.
    pub fn watch(&self) -> impl Stream<Item = Result<RunEvent, Error>> + Send + use<> {
        let poll = Poll::new(self.clone());
        let watch = Watch { poll, seen: HashSet::new(), events: VecDeque::new(), ended: false };
        stream::try_unfold(watch, |mut watch| async move {
            loop {
                if let Some(event) = watch.events.pop_front() {
                    return Ok(Some((event, watch)));
                }
                if watch.ended {
                    return Ok(None);
                }
                watch.look().await?;
            }
        })
    }
}

impl Watch {
    async fn look(&mut self) -> Result<(), Error> {
        let mut snapshot: Snapshot<Vec<Item>> = self.poll.clone().ask(false, |item| item).await?;
        in_order_of_ends(&mut snapshot.items);
        let before = self.seen.len();
        self.ended = snapshot.ended();
        for item in snapshot.items {
            let over = self.ended || ItemOutcome::of(&item) != ItemOutcome::InProgress;
            if over && self.seen.insert(item.item_id.clone()) {
                self.events.push_back(RunEvent::ItemEnded(Box::new(item)));
            }
        }
        if self.ended {
            self.events.push_back(RunEvent::Ended(Box::new(snapshot.run)));
        }
        self.poll.learn(self.seen.len() > before);
        Ok(())
    }
}

/// Sorts items by their end, so that a caller can resume after the newest end that it has seen.
fn in_order_of_ends(items: &mut [Item]) {
    items.sort_by_key(|item| item.terminated_at.map(SystemTime::from));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_reported_in_the_order_of_their_ends() {
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
        in_order_of_ends(&mut items);
        assert_eq!(items.map(|item| item.external_id), ["none", "oldest", "middle", "newest"]);
    }
}
