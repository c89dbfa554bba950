use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use platform_download::Crc32c;
use platform_resources::models::{ArtifactId, ArtifactOutput, Item, ItemId, RunId};
use platform_resources::{OVERLAP, Selection};

use super::cursor::Cursor;
use super::state::StateFile;
use crate::error::Error;

/// A record of the printed events of a run.
#[derive(Debug)]
pub(super) struct SeenEvents {
    check: String,
    /// The cursor at the start.
    start: Cursor,
    /// The newest end of an item.
    newest: Option<SystemTime>,
    ended: bool,
    /// The ids of printed items and artifacts, from this call or the state file.
    seen_ids: HashSet<String>,
    /// The files of items that are not printed yet; `None` if files are not printed.
    open: Option<Open>,
    state: Option<StateFile>,
}

/// Items with files that are not printed yet.
#[derive(Debug, Default)]
struct Open {
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
        let check = Crc32c::of(run.as_str().as_bytes()).to_string().trim_end_matches('=').to_owned();
        let unusable = |error| Error::input_because("the cursor cannot be used", error);
        let start = cursor.map(|text| Cursor::read(text, &check).map_err(unusable)).transpose()?.unwrap_or_default();
        let open_state = |path: &Path| {
            let named = || format!("cannot use the state file '{}'", path.display());
            StateFile::open(path, run.as_str()).map_err(|error| Error::input_because(named(), error))
        };
        let opened = state.map(open_state).transpose()?;
        let (state, seen_ids) = opened.map_or_else(Default::default, |(state, seen_ids)| (Some(state), seen_ids));
        let (open, ended) = (with_files.then(Open::default), start.ended || seen_ids.contains(run.as_str()));
        Ok(Self { check, start, newest: start.items, ended, seen_ids, open, state })
    }

    /// Returns the cursor after all printed events.
    pub(super) fn cursor(&self) -> String {
        let files = match &self.open {
            None => self.start.files,
            // Before the end of the oldest item with a file that is not printed yet.
            Some(open) => match open.ends.first() {
                Some((end, _)) => self.newest.min(end.checked_sub(Duration::from_micros(1))),
                None => self.newest,
            },
        };
        Cursor { items: self.newest, files, ended: self.ended }.write(&self.check)
    }

    pub(super) fn has_end(&self) -> bool {
        self.ended
    }

    /// Records an item. Returns true if it was not printed before.
    pub(super) fn item(&mut self, item: &Item) -> bool {
        let end = end(item);
        self.newest = self.newest.max(end);
        let files = self.files(item);
        if let (Some(open), Some(end), false) = (&mut self.open, end, files.is_empty()) {
            open.ends.insert((end, item.item_id.to_string()));
            open.files.insert(item.item_id.clone(), (end, files));
        }
        !is_before(item, self.start.items) && self.seen_ids.insert(item.item_id.to_string())
    }

    /// Records an artifact of an item. Returns true if it was not printed before.
    pub(super) fn artifact(&mut self, item: &Item, artifact: &ArtifactId) -> bool {
        if let Some(open) = &mut self.open
            && let Some((end, files)) = open.files.get_mut(&item.item_id)
        {
            files.remove(artifact);
            if files.is_empty() {
                open.ends.remove(&(*end, item.item_id.to_string()));
                open.files.remove(&item.item_id);
            }
        }
        !is_before(item, self.start.files) && self.seen_ids.insert(artifact.to_string())
    }

    /// Records the end of the run. Returns true if it was not printed before.
    pub(super) fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.ended, true)
    }

    /// Records in the state file that the event of an item, an artifact or the run was printed.
    pub(super) fn printed(&mut self, id: &str) -> Result<(), Error> {
        let written = self.state.as_mut().map_or(Ok(()), |state| state.printed(id));
        written.map_err(|error| Error::io("cannot write the state file", error))
    }

    /// Returns a selection of the items to download; `None` if there are none. Items in the state file are included,
    /// because their files may be missing or altered by now.
    pub(super) fn wanted(&self, items: &[Item]) -> Option<Selection> {
        let open: Vec<_> = items.iter().filter(|item| !is_before(item, self.start.files)).collect();
        match open.len() {
            0 => None,
            all if all == items.len() => Some(Selection::default()),
            _ => Some(open.into_iter().map(|item| &item.external_id).fold(Selection::default(), Selection::with_item)),
        }
    }

    /// Returns the files of an item that are not printed yet.
    fn files(&self, item: &Item) -> HashSet<ArtifactId> {
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

/// Returns true if an item ended before the overlap of a mark.
fn is_before(item: &Item, mark: Option<SystemTime>) -> bool {
    let from = mark.and_then(|mark| mark.checked_sub(OVERLAP));
    end(item).zip(from).is_some_and(|(end, from)| end < from)
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
            assert!(seen.item(item) && !seen.item(item));
            assert!(seen.cursor().len() <= 200);
        }
        let mut later = SeenEvents::new(&run(), Some(&seen.cursor()), None, false).unwrap();
        let again = items.iter().filter(|item| later.item(item)).count();
        assert_eq!(again, 61, "from 60 s before the last on");
    }

    #[test]
    fn state_file_prevents_repeated_events() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let one = item(1, "2026-11-25T08:00:00Z");
        let mut seen = SeenEvents::new(&run(), None, Some(&path), false).unwrap();
        assert!(seen.item(&one) && seen.end());
        seen.printed(one.item_id.as_str()).unwrap();
        seen.printed(run().as_str()).unwrap();
        // An event that was not printed is printed by the next call.
        let two = item(2, "2026-11-25T08:00:01Z");
        assert!(seen.item(&two));
        let cursor = seen.cursor();
        drop(seen);
        for cursor in [None, Some(cursor.as_str())] {
            let mut later = SeenEvents::new(&run(), cursor, Some(&path), false).unwrap();
            assert!(later.has_end() && !later.item(&one) && !later.end());
            assert!(later.item(&two));
        }
    }

    #[test]
    fn unreported_file_holds_the_mark_back() {
        let (early, late) = (item(1, "2026-11-25T08:00:00Z"), item(2, "2026-11-25T09:00:00Z"));
        let mut seen = SeenEvents::new(&run(), None, None, true).unwrap();
        for item in [&early, &late] {
            assert!(seen.item(item));
        }
        assert!(seen.artifact(&late, &late.output_artifacts[0].output_artifact_id));
        let mut later = SeenEvents::new(&run(), Some(&seen.cursor()), None, true).unwrap();
        assert!(later.wanted(std::slice::from_ref(&early)).is_some());
        assert!(!later.item(&early), "the item ended an hour before the newest");
        assert!(later.artifact(&early, &early.output_artifacts[0].output_artifact_id));
        // A watch without files leaves their events for a later one.
        let mut without = SeenEvents::new(&run(), None, None, false).unwrap();
        for item in [&early, &late] {
            without.item(item);
        }
        let with = SeenEvents::new(&run(), Some(&without.cursor()), None, true).unwrap();
        assert!(with.wanted(&[early]).is_some());
    }
}
