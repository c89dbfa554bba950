use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use platform_download::Crc32c;
use platform_resources::models::{ArtifactId, ArtifactOutput, Item, ItemId, RunId};
use platform_resources::{OVERLAP, Selection};

use super::cursor::Cursor;
use super::state::StateFile;
use crate::error::Error;

/// The events of a run that were already printed.
#[derive(Debug)]
pub(super) struct SeenEvents {
    run_checksum: String,
    /// The cursor at the start.
    start: Cursor,
    /// The latest end of an item.
    latest_end: Option<SystemTime>,
    ended: bool,
    /// The ids of printed items and artifacts, from this call or the state file.
    seen_ids: HashSet<String>,
    /// The files of items that are not printed yet; `None` if files are not printed.
    unprinted: Option<UnprintedFiles>,
    state: Option<StateFile>,
}

/// Items with files that are not printed yet.
#[derive(Debug, Default)]
struct UnprintedFiles {
    files: HashMap<ItemId, (SystemTime, HashSet<ArtifactId>)>,
    ends: BTreeSet<(SystemTime, String)>,
}

impl SeenEvents {
    /// Creates the record of a run after `cursor`, with the ids in a state file. `with_files` enables events of files.
    pub(super) fn new(
        run: &RunId,
        cursor: Option<&str>,
        state: Option<&Path>,
        with_files: bool,
    ) -> Result<Self, Error> {
        let run_checksum = Crc32c::of(run.as_str().as_bytes()).to_string().trim_end_matches('=').to_owned();
        let unusable = |error| Error::input_because("the cursor cannot be used", error);
        let start =
            cursor.map(|text| Cursor::read(text, &run_checksum).map_err(unusable)).transpose()?.unwrap_or_default();
        let open_state = |path: &Path| {
            let message = || format!("cannot use the state file '{}'", path.display());
            StateFile::open(path, run.as_str()).map_err(|error| Error::input_because(message(), error))
        };
        let state_and_ids = state.map(open_state).transpose()?;
        let (state, seen_ids) =
            state_and_ids.map_or_else(Default::default, |(state, seen_ids)| (Some(state), seen_ids));
        let (unprinted, ended) =
            (with_files.then(UnprintedFiles::default), start.ended || seen_ids.contains(run.as_str()));
        Ok(Self { run_checksum, start, latest_end: start.items, ended, seen_ids, unprinted, state })
    }

    /// Returns the cursor after all printed events.
    pub(super) fn cursor(&self) -> String {
        let files = match &self.unprinted {
            None => self.start.files,
            // The position of the files stays before the end of the oldest item with a file that is not printed yet.
            Some(unprinted) => match unprinted.ends.first() {
                Some((end, _)) => self.latest_end.min(end.checked_sub(Duration::from_micros(1))),
                None => self.latest_end,
            },
        };
        Cursor { items: self.latest_end, files, ended: self.ended }.write(&self.run_checksum)
    }

    pub(super) fn has_end(&self) -> bool {
        self.ended
    }

    /// Records an item. Returns true if it was not printed before.
    pub(super) fn record_item(&mut self, item: &Item) -> bool {
        let end = end(item);
        self.latest_end = self.latest_end.max(end);
        let files = self.unprinted_files(item);
        if let (Some(unprinted), Some(end), false) = (&mut self.unprinted, end, files.is_empty()) {
            unprinted.ends.insert((end, item.item_id.to_string()));
            unprinted.files.insert(item.item_id.clone(), (end, files));
        }
        !is_before(item, self.start.items) && self.seen_ids.insert(item.item_id.to_string())
    }

    /// Records an artifact of an item. Returns true if it was not printed before.
    pub(super) fn record_artifact(&mut self, item: &Item, artifact: &ArtifactId) -> bool {
        if let Some(unprinted) = &mut self.unprinted
            && let Some((end, files)) = unprinted.files.get_mut(&item.item_id)
        {
            files.remove(artifact);
            if files.is_empty() {
                unprinted.ends.remove(&(*end, item.item_id.to_string()));
                unprinted.files.remove(&item.item_id);
            }
        }
        !is_before(item, self.start.files) && self.seen_ids.insert(artifact.to_string())
    }

    /// Records the end of the run. Returns true if it was not printed before.
    pub(super) fn record_end(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true)
    }

    /// Records in the state file that the event of an item, an artifact or the run was printed.
    pub(super) fn record_printed(&mut self, id: &str) -> Result<(), Error> {
        let outcome = self.state.as_mut().map_or(Ok(()), |state| state.record_printed(id));
        outcome.map_err(|error| Error::io("cannot write the state file", error))
    }

    /// Returns a selection of the items to download, or `None` without such items. Items in the state file are
    /// included, because their files may have been deleted or altered.
    pub(super) fn items_to_download(&self, items: &[Item]) -> Option<Selection> {
        let remaining: Vec<_> = items.iter().filter(|item| !is_before(item, self.start.files)).collect();
        match remaining.len() {
            0 => None,
            count if count == items.len() => Some(Selection::default()),
            _ => Some(
                remaining.into_iter().map(|item| &item.external_id).fold(Selection::default(), Selection::with_item),
            ),
        }
    }

    /// Returns the files of an item that are not printed yet.
    fn unprinted_files(&self, item: &Item) -> HashSet<ArtifactId> {
        if is_before(item, self.start.files) {
            return HashSet::new();
        }
        let available = item.output_artifacts.iter().filter(|artifact| artifact.output == ArtifactOutput::Available);
        let ids = available.map(|artifact| &artifact.output_artifact_id);
        ids.filter(|id| !self.seen_ids.contains(id.as_str())).cloned().collect()
    }
}

fn end(item: &Item) -> Option<SystemTime> {
    item.terminated_at.map(SystemTime::from)
}

/// Returns true if an item ended more than [`OVERLAP`] before a mark.
fn is_before(item: &Item, mark: Option<SystemTime>) -> bool {
    let overlap_start = mark.and_then(|mark| mark.checked_sub(OVERLAP));
    end(item).zip(overlap_start).is_some_and(|(end, overlap_start)| end < overlap_start)
}

#[cfg(test)]
mod tests {
    use platform_resources::models::Item;
    use serde_json::json;

    use super::*;

    fn item(id: usize, at: &str) -> Item {
        let artifact = json!({ "output_artifact_id": format!("f{id}"), "name": "x", "state": "TERMINATED",
            "output": "AVAILABLE", "metadata": {} });
        let item = json!({ "item_id": format!("{id}"), "external_id": format!("{id}"), "state": "TERMINATED",
            "output": "FULL", "terminated_at": at, "input_artifacts": [], "output_artifacts": [artifact] });
        serde_json::from_value(item).unwrap()
    }

    fn run() -> RunId {
        serde_json::from_value(json!("0f0e0d0c-0000-4000-8000-000000000000")).unwrap()
    }

    #[test]
    fn cursor_is_short_and_repeats_the_last_minute() {
        let mut seen = SeenEvents::new(&run(), None, None, false).unwrap();
        let items: Vec<_> = (0..5_000)
            .map(|id| item(id, &format!("2026-11-25T{:02}:{:02}:{:02}Z", id / 3600, id / 60 % 60, id % 60)))
            .collect();
        for item in &items {
            assert!(seen.record_item(item) && !seen.record_item(item));
            assert!(seen.cursor().len() <= 200);
        }
        let mut later = SeenEvents::new(&run(), Some(&seen.cursor()), None, false).unwrap();
        let repeated_items = items.iter().filter(|item| later.record_item(item)).count();
        assert_eq!(repeated_items, 61, "items that ended up to 60 s before the last item");
    }

    #[test]
    fn state_file_prevents_repeated_events() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let one = item(1, "2026-11-25T08:00:00Z");
        let mut seen = SeenEvents::new(&run(), None, Some(&path), false).unwrap();
        assert!(seen.record_item(&one) && seen.record_end());
        seen.record_printed(one.item_id.as_str()).unwrap();
        seen.record_printed(run().as_str()).unwrap();
        // An event that was not printed is printed by the next call.
        let two = item(2, "2026-11-25T08:00:01Z");
        assert!(seen.record_item(&two));
        let cursor = seen.cursor();
        drop(seen);
        for cursor in [None, Some(cursor.as_str())] {
            let mut later = SeenEvents::new(&run(), cursor, Some(&path), false).unwrap();
            assert!(later.has_end() && !later.record_item(&one) && !later.record_end());
            assert!(later.record_item(&two));
        }
    }

    #[test]
    fn unprinted_file_is_repeated_after_the_cursor() {
        let (early, late) = (item(1, "2026-11-25T08:00:00Z"), item(2, "2026-11-25T09:00:00Z"));
        let mut seen = SeenEvents::new(&run(), None, None, true).unwrap();
        for item in [&early, &late] {
            assert!(seen.record_item(item));
        }
        assert!(seen.record_artifact(&late, &late.output_artifacts[0].output_artifact_id));
        let mut later = SeenEvents::new(&run(), Some(&seen.cursor()), None, true).unwrap();
        assert!(later.items_to_download(std::slice::from_ref(&early)).is_some());
        assert!(!later.record_item(&early), "the item ended an hour before the latest item");
        assert!(later.record_artifact(&early, &early.output_artifacts[0].output_artifact_id));
        // A watch without files leaves their events for a later one.
        let mut without = SeenEvents::new(&run(), None, None, false).unwrap();
        for item in [&early, &late] {
            without.record_item(item);
        }
        let with = SeenEvents::new(&run(), Some(&without.cursor()), None, true).unwrap();
        assert!(with.items_to_download(&[early]).is_some());
    }
}
