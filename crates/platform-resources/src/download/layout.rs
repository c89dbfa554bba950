use std::collections::HashMap;

use platform_api::models::RunId;
use platform_download::{apart, escape, extension, safe_names};

use super::artifact::{Slim, Wanted};

/// The separator of item and artifact names in a combined file name.
const JOINT: &str = "--";

/// The layout of a run's files in the result folder. The default is one folder per item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    per_run: bool,
    per_item: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self { per_run: false, per_item: true }
    }
}

impl Layout {
    /// Adds a folder with the id of the run, so that the results of several runs can share a folder.
    pub fn with_folder_per_run(mut self, wanted: bool) -> Self {
        self.per_run = wanted;
        self
    }

    /// Uses a folder per item. If disabled, the item name is the prefix of its file names.
    pub fn with_folder_per_item(mut self, wanted: bool) -> Self {
        self.per_item = wanted;
        self
    }
}

/// The file names of a run. They are the same in every call and for every shard.
pub(super) struct Names {
    layout: Layout,
    run: String,
    /// The folders of items whose names differ from the external id.
    items: HashMap<String, String>,
}

impl Names {
    pub(super) fn new<'a>(layout: Layout, run: &RunId, external_ids: impl Iterator<Item = &'a str>) -> Self {
        let given: Vec<_> = external_ids.map(|name| (name, name)).collect();
        let folders = given.iter().map(|(name, _)| *name).zip(safe_names(&given));
        let others = folders.filter(|(name, folder)| folder != name);
        let items = others.map(|(name, folder)| (name.to_owned(), folder)).collect();
        Self { layout, run: escape(run.as_str()), items }
    }

    /// Returns the folders and the file name for each of an item's artifacts.
    pub(super) fn of(&self, item: &Slim) -> Vec<Vec<String>> {
        let names: Vec<_> = item.artifacts.iter().map(file_name).collect();
        let ids = item.artifacts.iter().map(|artifact| artifact.id.as_str());
        let given: Vec<_> = names.iter().map(String::as_str).zip(ids.clone()).collect();
        let safe = safe_names(&given);
        let folder = self.items.get(&item.external_id).cloned().unwrap_or_else(|| escape(&item.external_id));
        let run = self.layout.per_run.then(|| self.run.clone());
        let place = |(((name, id), safe), run): (((&String, &str), String), Option<String>)| {
            let below = if self.layout.per_item {
                vec![folder.clone(), safe]
            } else {
                vec![joined(&item.external_id, &folder, name, &safe, id)]
            };
            run.into_iter().chain(below).collect()
        };
        names.iter().zip(ids).zip(safe).zip(std::iter::repeat(run)).map(place).collect()
    }
}

/// Returns a combined name for an item and its artifact. Ids distinguish names that could be equal.
fn joined(item: &str, safe_item: &str, name: &str, safe_name: &str, id: &str) -> String {
    let both = escape(&format!("{item}{JOINT}{name}"));
    let is_ambiguous = item.contains(JOINT) || name.contains(JOINT) || item.ends_with('-') || name.starts_with('-');
    if is_ambiguous || safe_item != escape(item) || safe_name != escape(name) {
        apart(both, &format!("{item}\n{id}"))
    } else {
        both
    }
}

/// Returns the name of an artifact with the extension of its media type. A name with an extension and without a media
/// type is unchanged.
fn file_name(Wanted { name, media_type, .. }: &Wanted) -> String {
    let has_ending = std::path::Path::new(name).extension().is_some();
    let ending = match media_type {
        None if has_ending => return name.clone(),
        media_type => extension(media_type.as_deref().unwrap_or_default()),
    };
    if ending == ".bin" {
        tracing::info!(artifact = name, ?media_type, "its type is not known: it gets the ending .bin");
    }
    if name.to_ascii_lowercase().ends_with(ending) { name.clone() } else { format!("{name}{ending}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use platform_download::Shard;

    use super::super::Selection;
    use super::*;

    fn item(external_id: &str, artifacts: &[(&str, &str)]) -> Slim {
        let artifacts: Vec<_> = artifacts
            .iter()
            .map(|(id, name)| {
                json!({ "output_artifact_id": id, "name": name, "metadata": { "media_type": "text/csv" },
                "state": "TERMINATED", "output": "AVAILABLE" })
            })
            .collect();
        let item = json!({ "item_id": external_id, "external_id": external_id, "state": "TERMINATED",
            "output": "FULL", "input_artifacts": [], "output_artifacts": artifacts });
        Slim::of(serde_json::from_value(item).unwrap(), Shard::default(), &Selection::default(), &[])
    }

    fn names(layout: Layout, items: &[Slim]) -> Vec<String> {
        let run: RunId = serde_json::from_value(json!("run/1")).unwrap();
        let names = Names::new(layout, &run, items.iter().map(|item| item.external_id.as_str()));
        items.iter().flat_map(|item| names.of(item)).map(|parts| parts.join("/")).collect()
    }

    #[test]
    fn files_lie_by_run_and_item_as_is_wanted() {
        let items = [item("a.tiff", &[("1", "tissue:areas")])];
        let layout = Layout::default();
        assert_eq!(names(layout, &items), ["a.tiff/tissue%3Aareas.csv"]);
        assert_eq!(names(layout.with_folder_per_run(true), &items), ["run%2F1/a.tiff/tissue%3Aareas.csv"]);
        let flat = layout.with_folder_per_item(false);
        assert_eq!(names(flat, &items), ["a.tiff--tissue%3Aareas.csv"]);
        assert_eq!(names(flat.with_folder_per_run(true), &items), ["run%2F1/a.tiff--tissue%3Aareas.csv"]);
    }

    #[test]
    fn no_two_files_share_a_place_and_no_place_depends_on_the_order() {
        let mut items = [
            item("A", &[("1", "x"), ("2", "X"), ("3", "x")]),
            item("a", &[("4", "x")]),
            item("a--x", &[("5", "y")]),
            item("b", &[("6", "x--y"), ("7", "-y")]),
            item("b-", &[("8", "y")]),
            item("CON", &[("9", "x"), ("10", "Manifest.JSONL"), ("11", "manifest.jsonl")]),
            item("con", &[("12", "x")]),
            item("Manifest.JSONL", &[("13", "x")]),
            item("manifest.jsonl", &[("14", "x")]),
        ];
        for layout in [Layout::default(), Layout::default().with_folder_per_item(false)] {
            let found = names(layout, &items);
            let mut folded: Vec<_> = found.iter().map(|name| name.to_lowercase()).collect();
            folded.sort();
            folded.dedup();
            assert_eq!(folded.len(), 14, "{found:?}");
            items.reverse();
            for item in &mut items {
                item.artifacts.reverse();
            }
            let mut back = names(layout, &items);
            back.reverse();
            assert_eq!(back, found);
        }
    }
}
