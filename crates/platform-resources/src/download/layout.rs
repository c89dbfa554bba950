use std::collections::{HashMap, HashSet};
use std::path::Path;

use platform_api::models::RunId;
use platform_download::{Sha256, Siblings, disambiguate, escape, extension, fold, safe_names};

use super::artifact::{ItemSummary, SelectedArtifact};

/// The separator of item and artifact names in a combined file name.
const JOINT: &str = "--";

/// The naming scheme of result files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameBy {
    /// The external id as a path: a folder for each of its parts. `:` becomes `_`, and what else a file system cannot store is
    /// percent-encoded.
    #[default]
    Relative,
    /// The file name in the external id, without its ending: the layout of the Python SDK 1.6.0.
    Stem,
    /// All of the external id, percent-encoded.
    Id,
}

/// The layout of a run's files in the result folder. The default is one folder per item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    per_run: bool,
    per_item: bool,
    name_by: NameBy,
}

impl Default for Layout {
    fn default() -> Self {
        Self { per_run: false, per_item: true, name_by: NameBy::default() }
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

    /// Sets the part of the external id that names the files.
    pub fn with_names_by(mut self, name_by: NameBy) -> Self {
        self.name_by = name_by;
        self
    }

    pub(super) fn has_folder_per_run(self) -> bool {
        self.per_run
    }

    /// Returns a name as it appears in a path, before it is escaped.
    fn shown(self, name: &str) -> String {
        if self.name_by == NameBy::Id { name.to_owned() } else { name.replace(':', "_") }
    }

    /// Returns the folders of an item, at least one. Without a folder per item, the only one is the prefix of the names of its
    /// files. They are not escaped.
    fn place(self, external_id: &str) -> Vec<String> {
        let id = self.shown(external_id);
        let parts: Vec<_> = match self.name_by {
            NameBy::Stem if self.per_item => {
                Path::new(&id).file_stem().map(|stem| stem.to_string_lossy().into_owned()).into_iter().collect()
            }
            NameBy::Relative => {
                id.split(['/', '\\']).filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
            }
            _ => vec![id],
        };
        match parts.len() {
            0 => vec![String::new()],
            1 => parts,
            _ if self.per_item => parts,
            _ => vec![parts.join("_")],
        }
    }
}

/// The file names of a run. They are the same in every call and for every shard, except for files that the manifest of the
/// folder already lists.
pub(super) struct Names {
    layout: Layout,
    run: String,
    /// The folders or prefixes of items that are equal to those of other items on some file systems, by external id.
    apart: HashMap<String, String>,
}

/// Stands for a text where very many are kept.
pub(super) type Key = [u8; 16];

pub(super) fn key(text: &str) -> Key {
    let digest = Sha256::of(text.as_bytes());
    std::array::from_fn(|at| digest.as_bytes()[at])
}

fn escaped(parts: &[String]) -> String {
    parts.iter().map(|part| escape(part)).collect::<Vec<_>>().join("/")
}

impl Names {
    pub(super) fn new(
        layout: Layout,
        run: &RunId,
        external_ids: impl Iterator<Item = impl AsRef<str>> + Clone,
    ) -> Self {
        let (mut siblings, mut inner, mut prefixes) = (Siblings::default(), HashSet::new(), HashSet::new());
        let is_bare = layout.name_by == NameBy::Stem && !layout.per_item;
        for id in external_ids.clone() {
            let place = layout.place(id.as_ref());
            // Those of different items can be the same.
            siblings.add(&place.join("/"), &escaped(&place));
            inner.extend((1..place.len()).map(|depth| key(&fold(&escaped(&place[..depth])))));
            if is_bare {
                prefixes.insert(key(&fold(&place.join("_"))));
            }
        }
        let mut apart_from_others = HashMap::new();
        for id in external_ids {
            let id = id.as_ref();
            let place = layout.place(id);
            let plain = escaped(&place);
            let mut safe = siblings.distinct(&place.join("/"), plain.clone(), id);
            // The folder contains other items, or the prefix begins with that of another item.
            let begins =
                |prefix: &str| prefix.char_indices().skip(1).any(|(end, _)| prefixes.contains(&key(&prefix[..end])));
            if safe == plain && (inner.contains(&key(&fold(&plain))) || (is_bare && begins(&fold(&place.join("_"))))) {
                safe = disambiguate(safe, id);
            }
            if safe != plain {
                apart_from_others.insert(id.to_owned(), safe);
            }
        }
        Self { layout, run: escape(run.as_str()), apart: apart_from_others }
    }

    /// The path of the file for each of an item's artifacts, relative to the folder, with `/` between folders.
    pub(super) fn of(&self, item: &ItemSummary) -> Vec<String> {
        let names: Vec<_> = item.artifacts.iter().map(|artifact| self.file_name(artifact)).collect();
        let ids = item.artifacts.iter().map(|artifact| artifact.id.as_str());
        let given: Vec<_> = names.iter().map(String::as_str).zip(ids.clone()).collect();
        let (place, apart) = (self.layout.place(&item.external_id), self.apart.get(&item.external_id));
        let path = |((name, id), safe): ((&String, &str), String)| {
            let below = if self.layout.per_item {
                format!("{}/{safe}", apart.cloned().unwrap_or_else(|| escaped(&place)))
            } else {
                let is_alike = apart.is_some() || safe != escape(name);
                self.joined(&place.join("_"), name, is_alike, &format!("{}\n{id}", item.external_id))
            };
            if self.layout.per_run { format!("{}/{below}", self.run) } else { below }
        };
        names.iter().zip(ids).zip(safe_names(&given)).map(path).collect()
    }

    /// One name for an item and its artifact. Where others could have the same, the identity keeps them apart.
    fn joined(&self, item: &str, name: &str, is_alike: bool, identity: &str) -> String {
        let joint = if self.layout.name_by == NameBy::Stem { "" } else { JOINT };
        let both = escape(&format!("{item}{joint}{name}"));
        let has_joint = |text: &str| !joint.is_empty() && text.contains(joint);
        let at_joint = !joint.is_empty() && (item.ends_with('-') || name.starts_with('-'));
        if is_alike || at_joint || has_joint(item) || has_joint(name) { disambiguate(both, identity) } else { both }
    }

    /// Returns the name of an artifact with the extension of its media type. A name with an extension and without a media
    /// type is unchanged.
    fn file_name(&self, SelectedArtifact { name, media_type, .. }: &SelectedArtifact) -> String {
        let shown = self.layout.shown(name);
        let is_stem = self.layout.name_by == NameBy::Stem;
        let ending = match media_type {
            None if !is_stem && Path::new(name).extension().is_some() => return shown,
            media_type => extension(media_type.as_deref().unwrap_or_default()),
        };
        if ending == ".bin" {
            tracing::info!(artifact = name, ?media_type, "its type is not known: it gets the ending .bin");
        }
        match ending {
            // As the Python SDK does.
            ".geojson" if is_stem => shown + ".json",
            ending if !is_stem && shown.to_ascii_lowercase().ends_with(ending) => shown,
            ending => shown + ending,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use platform_download::Shard;

    use super::super::Selection;
    use super::*;

    fn item(external_id: &str, artifacts: &[(&str, &str)]) -> ItemSummary {
        let artifacts: Vec<_> = artifacts
            .iter()
            .map(|(id, name)| {
                json!({ "output_artifact_id": id, "name": name, "metadata": { "media_type": "text/csv" },
                "state": "TERMINATED", "output": "AVAILABLE" })
            })
            .collect();
        let item = json!({ "item_id": external_id, "external_id": external_id, "state": "TERMINATED",
            "output": "FULL", "input_artifacts": [], "output_artifacts": artifacts });
        ItemSummary::of(serde_json::from_value(item).unwrap(), Shard::default(), &Selection::default(), &[])
    }

    fn names(layout: Layout, items: &[ItemSummary]) -> Vec<String> {
        let run: RunId = serde_json::from_value(json!("run/1")).unwrap();
        let names = Names::new(layout, &run, items.iter().map(|item| &item.external_id));
        items.iter().flat_map(|item| names.of(item)).collect()
    }

    #[test]
    fn files_lie_by_run_and_item_as_is_wanted() {
        let items = [item("a:b/c.tiff", &[("1", "tissue:areas")])];
        for (name_by, folder, file) in [
            (NameBy::Relative, "a_b/c.tiff/tissue_areas.csv", "a_b_c.tiff--tissue_areas.csv"),
            (NameBy::Stem, "c/tissue_areas.csv", "a_b%2Fc.tifftissue_areas.csv"),
            (NameBy::Id, "a%3Ab%2Fc.tiff/tissue%3Aareas.csv", "a%3Ab%2Fc.tiff--tissue%3Aareas.csv"),
        ] {
            let layout = Layout::default().with_names_by(name_by);
            assert_eq!(names(layout, &items), [folder]);
            assert_eq!(names(layout.with_folder_per_run(true), &items), [format!("run%2F1/{folder}")]);
            let flat = layout.with_folder_per_item(false);
            assert_eq!(names(flat, &items), [file]);
            assert_eq!(names(flat.with_folder_per_run(true), &items), [format!("run%2F1/{file}")]);
        }
    }

    #[test]
    fn relative_paths_stay_inside_and_do_not_contain_each_other() {
        let items = ["/data/a.tiff", "a", "a/b.csv", "../x", "C:\\s\\t.svs", "gs://bucket/u.tiff", "", "A/B.csv"];
        let items = items.map(|id| item(id, &[("1", "b.csv")]));
        let found = names(Layout::default(), &items);
        assert_eq!(found[0], "data/a.tiff/b.csv");
        assert!(found[1].starts_with("a%~") && found[1].ends_with("/b.csv"), "{found:?}");
        assert!(found[2].starts_with("a/b.csv%~") && found[7].starts_with("A/B.csv%~"), "{found:?}");
        assert_eq!(found[3..7], ["%2E%2E/x/b.csv", "C_/s/t.svs/b.csv", "gs_/bucket/u.tiff/b.csv", "%/b.csv"]);
    }

    #[test]
    fn long_names_keep_their_readable_start() {
        let id = format!("cohort/{}.tiff", "x".repeat(300));
        let found = names(Layout::default(), &[item(&id, &[("1", "areas")])]);
        assert!(found[0].starts_with("cohort/xxxxxxxx") && found[0].len() < 230, "{found:?}");
    }

    /// `download_available_items` and `download_item_artifact` in `aignostics/application/_download.py` of the SDK 1.6.0, and
    /// `get_file_extension_for_artifact` in `_utils.py`.
    #[test]
    fn stems_are_those_of_the_python_sdk() {
        let layout = Layout::default().with_names_by(NameBy::Stem).with_folder_per_run(true);
        let of = |id: &str, name: &str, media_type: &str| {
            let mut item = item(id, &[("1", name)]);
            item.artifacts[0].media_type = Some(media_type.to_owned());
            let flat = layout.with_folder_per_item(false);
            [names(layout, std::slice::from_ref(&item)), names(flat, &[item])].map(|mut names| names.remove(0))
        };
        for (id, name, media_type, folder, file) in [
            (
                "a.tiff",
                "tissue_qc:tiff_heatmap",
                "image/tiff",
                "a/tissue_qc_tiff_heatmap.tiff",
                "a.tifftissue_qc_tiff_heatmap.tiff",
            ),
            ("x/b.c.svs", "cells:geojson", "application/geo+json", "b.c/cells_geojson.json", ""),
            ("d", "readout.csv", "text/csv", "d/readout.csv.csv", "dreadout.csv.csv"),
            ("e.dcm", "slide", "application/x-unheard-of", "e/slide.bin", "e.dcmslide.bin"),
        ] {
            let found = of(id, name, media_type);
            assert_eq!(found[0], format!("run%2F1/{folder}"));
            // The SDK fails for an id with a slash.
            assert!(file.is_empty() || found[1] == format!("run%2F1/{file}"), "{found:?}");
        }
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
            item("Slide", &[("15", "-1")]),
            item("slide-", &[("16", "1")]),
            item("x:", &[("17", "y2")]),
            item("x_y", &[("18", "2")]),
            item("\u{c4}", &[("19", "z")]),
            item("a\u{308}/z", &[("20", "z")]),
        ];
        let layouts = [NameBy::Relative, NameBy::Stem, NameBy::Id].map(|by| Layout::default().with_names_by(by));
        for layout in layouts.into_iter().flat_map(|layout| [layout, layout.with_folder_per_item(false)]) {
            let found = names(layout, &items);
            let mut folded: Vec<_> = found.iter().map(|name| fold(name)).collect();
            folded.sort();
            folded.dedup();
            assert_eq!(folded.len(), 20, "{found:?}");
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
