use std::collections::HashMap;

use anyhow::{Context, anyhow};
use platform_download::Crc32c;
use platform_resources::Selection;
use platform_resources::models::{ArtifactId, ArtifactOutput, Item, ItemId, RunId};

use super::cursor::Cursor;
use crate::exit::Failure;

/// What was told of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    check: String,
    /// The place of each item among all.
    places: HashMap<ItemId, usize>,
    told: Cursor,
}

impl Ledger {
    /// The ledger of a run with all these items, after `cursor`.
    pub(super) fn new(run: &RunId, items: &[Item], cursor: Option<&str>) -> Result<Self, Failure> {
        let mut ids: Vec<_> = items.iter().map(|item| item.item_id.clone()).collect();
        ids.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        let sum = ids.iter().fold(Crc32c::of(run.as_str().as_bytes()), |sum, id| sum.append(id.as_str().as_bytes()));
        let check = sum.to_string().trim_end_matches('=').to_owned();
        let read = |text| Cursor::read(text, &check, ids.len());
        let told = cursor.map(read).transpose().context("the cursor cannot be used").map_err(Failure::bad_input)?;
        let places = ids.into_iter().enumerate().map(|(place, id)| (id, place)).collect();
        Ok(Self { check, places, told: told.unwrap_or_default() })
    }

    /// The word for what was told.
    pub(super) fn cursor(&self) -> String {
        self.told.write(&self.check)
    }

    pub(super) fn has_end(&self) -> bool {
        self.told.ended
    }

    /// Notes an item; whether it was not told before.
    pub(super) fn item(&mut self, item: &Item) -> Result<bool, Failure> {
        let place = self.place(item)?;
        Ok(self.told.items.insert(place))
    }

    /// Notes an artifact of an item; whether it was not told before.
    pub(super) fn artifact(&mut self, item: &Item, artifact: &ArtifactId) -> Result<bool, Failure> {
        let place = self.place(item)?;
        let number = sorted(item).iter().position(|id| *id == artifact);
        let number = number.ok_or_else(|| anyhow!("an artifact is not among those of its item"))?;
        Ok(self.told.artifacts.entry(place).or_default().insert(number))
    }

    /// Notes the end of the run; whether it was not told before.
    pub(super) fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.told.ended, true)
    }

    /// What of the items is still to be downloaded. `None`: nothing.
    pub(super) fn wanted(&self, items: &[Item]) -> Option<Selection> {
        let open: Vec<_> = items.iter().filter(|item| !self.is_done(item)).collect();
        match open.len() {
            0 => None,
            all if all == items.len() => Some(Selection::default()),
            _ => Some(open.into_iter().map(|item| &item.external_id).fold(Selection::default(), Selection::with_item)),
        }
    }

    /// Whether everything of an item was told.
    fn is_done(&self, item: &Item) -> bool {
        let Some(place) = self.places.get(&item.item_id) else { return false };
        let available = item.output_artifacts.iter().filter(|artifact| artifact.output == ArtifactOutput::Available);
        let ids = sorted(item);
        let told = self.told.artifacts.get(place);
        self.told.items.contains(place)
            && available
                .map(|artifact| ids.iter().position(|id| **id == artifact.output_artifact_id))
                .all(|number| number.is_some_and(|number| told.is_some_and(|told| told.contains(&number))))
    }

    fn place(&self, item: &Item) -> Result<usize, Failure> {
        let place = self.places.get(&item.item_id).copied();
        Ok(place.ok_or_else(|| anyhow!("item {} was not there when the watch began", item.external_id))?)
    }
}

/// The artifacts of an item, in an order that stays.
fn sorted(item: &Item) -> Vec<&ArtifactId> {
    let mut ids: Vec<_> = item.output_artifacts.iter().map(|artifact| &artifact.output_artifact_id).collect();
    ids.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    ids
}
