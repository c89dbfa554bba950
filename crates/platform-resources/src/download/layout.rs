use std::collections::{HashMap, HashSet};
use std::path::Path;

use platform_api::models::RunId;
use platform_download::{Sha256, Siblings, disambiguate, escape, extension, fold, safe_names};

use super::artifact::{ItemSummary, SelectedArtifact};

/// The separator between the names of an item and an artifact in a file name.
const NAME_SEPARATOR: &str = "--";

/// The naming scheme of result files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameBy {
    /// The external id as a path, with a folder for each of its parts. `:` becomes `_`, and other characters that a
    /// file system cannot store are percent-encoded.
    #[default]
    Relative,
    /// The file name in the external id, without its extension. This is the layout of the Python SDK 1.6.0.
    Stem,
    /// The whole external id, percent-encoded.
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
    /// Enables or disables a folder for each run, named by its id, so that several runs can share a result folder. It
    /// is disabled by default.
    pub fn with_folder_per_run(mut self, enabled: bool) -> Self {
        self.per_run = enabled;
        self
    }

    /// Enables or disables a folder for each item. It is enabled by default. If it is disabled, the name of the item is
    /// the prefix of its file names.
    pub fn with_folder_per_item(mut self, enabled: bool) -> Self {
        self.per_item = enabled;
        self
    }

    /// Sets how the external id determines the names of folders and files.
    pub fn with_names_by(mut self, name_by: NameBy) -> Self {
        self.name_by = name_by;
        self
    }

    pub(super) fn has_folder_per_run(self) -> bool {
        self.per_run
    }

    /// Returns a name in the form of the layout, before it is escaped.
    fn unescaped_name(self, name: &str) -> String {
        if self.name_by == NameBy::Id { name.to_owned() } else { name.replace(':', "_") }
    }

    /// Returns the names of the folders of an item before they are escaped. There is at least one. Without a folder per
    /// item, the only name is the prefix of its file names.
    fn item_path(self, external_id: &str) -> Vec<String> {
        let id = self.unescaped_name(external_id);
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

/// The file names of a run. They are the same in each download and for each shard, except for files that the manifest
/// of the folder already contains.
pub(super) struct FileNames {
    layout: Layout,
    run: String,
    /// The disambiguated folders or prefixes of items by external id. It contains only items whose original folder or
    /// prefix some file systems would treat as equal to that of another item.
    disambiguated: HashMap<String, String>,
}

/// The first 16 bytes of the SHA-256 of a name. They are stored instead of the name, because a run can have very many
/// names.
pub(super) type NameKey = [u8; 16];

pub(super) fn name_key(text: &str) -> NameKey {
    let digest = Sha256::of(text.as_bytes());
    std::array::from_fn(|index| digest.as_bytes()[index])
}

fn escape_and_join(parts: &[String]) -> String {
    parts.iter().map(|part| escape(part)).collect::<Vec<_>>().join("/")
}

impl FileNames {
    pub(super) fn new(
        layout: Layout,
        run: &RunId,
        external_ids: impl Iterator<Item = impl AsRef<str>> + Clone,
    ) -> Self {
        let (mut siblings, mut folder_keys, mut prefixes) = (Siblings::default(), HashSet::new(), HashSet::new());
        let has_bare_prefix = layout.name_by == NameBy::Stem && !layout.per_item;
        for id in external_ids.clone() {
            let path_parts = layout.item_path(id.as_ref());
            // Different items can have the same path.
            siblings.add(&path_parts.join("/"), &escape_and_join(&path_parts));
            folder_keys
                .extend((1..path_parts.len()).map(|depth| name_key(&fold(&escape_and_join(&path_parts[..depth])))));
            if has_bare_prefix {
                prefixes.insert(name_key(&fold(&path_parts.join("_"))));
            }
        }
        let mut disambiguated = HashMap::new();
        for id in external_ids {
            let id = id.as_ref();
            let path_parts = layout.item_path(id);
            let original_path = escape_and_join(&path_parts);
            let mut distinct_path = siblings.distinct(&path_parts.join("/"), original_path.clone(), id);
            // Another item may have a folder with this path, or a prefix with which this prefix starts.
            let starts_with_other = |prefix: &str| {
                prefix.char_indices().skip(1).any(|(end, _)| prefixes.contains(&name_key(&prefix[..end])))
            };
            if distinct_path == original_path
                && (folder_keys.contains(&name_key(&fold(&original_path)))
                    || (has_bare_prefix && starts_with_other(&fold(&path_parts.join("_")))))
            {
                distinct_path = disambiguate(distinct_path, id);
            }
            if distinct_path != original_path {
                disambiguated.insert(id.to_owned(), distinct_path);
            }
        }
        Self { layout, run: escape(run.as_str()), disambiguated }
    }

    /// Returns the path of the file of each artifact of an item, relative to the folder, with `/` between folders.
    pub(super) fn paths(&self, item: &ItemSummary) -> Vec<String> {
        let names: Vec<_> = item.artifacts.iter().map(|artifact| self.file_name(artifact)).collect();
        let ids = item.artifacts.iter().map(|artifact| artifact.id.as_str());
        let names_and_ids: Vec<_> = names.iter().map(String::as_str).zip(ids.clone()).collect();
        let (path_parts, disambiguated) =
            (self.layout.item_path(&item.external_id), self.disambiguated.get(&item.external_id));
        let path = |((name, id), safe_name): ((&String, &str), String)| {
            let path_in_run = if self.layout.per_item {
                format!("{}/{safe_name}", disambiguated.cloned().unwrap_or_else(|| escape_and_join(&path_parts)))
            } else {
                let is_ambiguous = disambiguated.is_some() || safe_name != escape(name);
                self.flat_name(&path_parts.join("_"), name, is_ambiguous, &format!("{}\n{id}", item.external_id))
            };
            if self.layout.per_run { format!("{}/{path_in_run}", self.run) } else { path_in_run }
        };
        names.iter().zip(ids).zip(safe_names(&names_and_ids)).map(path).collect()
    }

    /// Returns a file name that consists of the names of an item and its artifact. If another item and artifact could
    /// have the same file name, it is disambiguated by `identity`.
    fn flat_name(&self, item: &str, name: &str, is_ambiguous: bool, identity: &str) -> String {
        let separator = if self.layout.name_by == NameBy::Stem { "" } else { NAME_SEPARATOR };
        let joined_name = escape(&format!("{item}{separator}{name}"));
        let contains_separator = |text: &str| !separator.is_empty() && text.contains(separator);
        let touches_separator = !separator.is_empty() && (item.ends_with('-') || name.starts_with('-'));
        if is_ambiguous || touches_separator || contains_separator(item) || contains_separator(name) {
            disambiguate(joined_name, identity)
        } else {
            joined_name
        }
    }

    /// Returns the name of an artifact with the extension of its media type. A name with an extension and without a
    /// media type is unchanged.
    fn file_name(&self, SelectedArtifact { name, media_type, .. }: &SelectedArtifact) -> String {
        let base_name = self.layout.unescaped_name(name);
        let uses_stems = self.layout.name_by == NameBy::Stem;
        let suffix = match media_type {
            None if !uses_stems && Path::new(name).extension().is_some() => return base_name,
            media_type => extension(media_type.as_deref().unwrap_or_default()),
        };
        if suffix == ".bin" {
            tracing::info!(artifact = name, ?media_type, "unknown media type: the file gets the extension .bin");
        }
        match suffix {
            // Same as in the Python SDK.
            ".geojson" if uses_stems => base_name + ".json",
            suffix if !uses_stems && base_name.to_ascii_lowercase().ends_with(suffix) => base_name,
            suffix => base_name + suffix,
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

    fn file_paths(layout: Layout, items: &[ItemSummary]) -> Vec<String> {
        let run: RunId = serde_json::from_value(json!("run/1")).unwrap();
        let names = FileNames::new(layout, &run, items.iter().map(|item| &item.external_id));
        items.iter().flat_map(|item| names.paths(item)).collect()
    }

    #[test]
    fn layout_determines_folders_and_file_names() {
        let items = [item("a:b/c.tiff", &[("1", "tissue:areas")])];
        for (name_by, folder, file) in [
            (NameBy::Relative, "a_b/c.tiff/tissue_areas.csv", "a_b_c.tiff--tissue_areas.csv"),
            (NameBy::Stem, "c/tissue_areas.csv", "a_b%2Fc.tifftissue_areas.csv"),
            (NameBy::Id, "a%3Ab%2Fc.tiff/tissue%3Aareas.csv", "a%3Ab%2Fc.tiff--tissue%3Aareas.csv"),
        ] {
            let layout = Layout::default().with_names_by(name_by);
            assert_eq!(file_paths(layout, &items), [folder]);
            assert_eq!(file_paths(layout.with_folder_per_run(true), &items), [format!("run%2F1/{folder}")]);
            let flat = layout.with_folder_per_item(false);
            assert_eq!(file_paths(flat, &items), [file]);
            assert_eq!(file_paths(flat.with_folder_per_run(true), &items), [format!("run%2F1/{file}")]);
        }
    }

    #[test]
    fn relative_paths_stay_in_the_folder_and_are_disjoint() {
        let items = ["/data/a.tiff", "a", "a/b.csv", "../x", "C:\\s\\t.svs", "gs://bucket/u.tiff", "", "A/B.csv"];
        let items = items.map(|id| item(id, &[("1", "b.csv")]));
        let paths = file_paths(Layout::default(), &items);
        assert_eq!(paths[0], "data/a.tiff/b.csv");
        assert!(paths[1].starts_with("a%~") && paths[1].ends_with("/b.csv"), "{paths:?}");
        assert!(paths[2].starts_with("a/b.csv%~") && paths[7].starts_with("A/B.csv%~"), "{paths:?}");
        assert_eq!(paths[3..7], ["%2E%2E/x/b.csv", "C_/s/t.svs/b.csv", "gs_/bucket/u.tiff/b.csv", "%/b.csv"]);
    }

    #[test]
    fn long_names_keep_their_readable_start() {
        let id = format!("cohort/{}.tiff", "x".repeat(300));
        let paths = file_paths(Layout::default(), &[item(&id, &[("1", "areas")])]);
        assert!(paths[0].starts_with("cohort/xxxxxxxx") && paths[0].len() < 230, "{paths:?}");
    }

    /// Compares with `download_available_items` and `download_item_artifact` in `aignostics/application/_download.py`
    /// of the SDK 1.6.0, and with `get_file_extension_for_artifact` in `_utils.py`.
    #[test]
    fn stem_layout_matches_the_python_sdk() {
        let layout = Layout::default().with_names_by(NameBy::Stem).with_folder_per_run(true);
        let paths_of = |id: &str, name: &str, media_type: &str| {
            let mut item = item(id, &[("1", name)]);
            item.artifacts[0].media_type = Some(media_type.to_owned());
            let flat = layout.with_folder_per_item(false);
            [file_paths(layout, std::slice::from_ref(&item)), file_paths(flat, &[item])]
                .map(|mut paths| paths.remove(0))
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
            let paths = paths_of(id, name, media_type);
            assert_eq!(paths[0], format!("run%2F1/{folder}"));
            // The SDK fails for an id with a slash.
            assert!(file.is_empty() || paths[1] == format!("run%2F1/{file}"), "{paths:?}");
        }
    }

    #[test]
    fn paths_are_unique_and_do_not_depend_on_the_order() {
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
        let layouts =
            [NameBy::Relative, NameBy::Stem, NameBy::Id].map(|name_by| Layout::default().with_names_by(name_by));
        for layout in layouts.into_iter().flat_map(|layout| [layout, layout.with_folder_per_item(false)]) {
            let paths = file_paths(layout, &items);
            let mut folded: Vec<_> = paths.iter().map(|name| fold(name)).collect();
            folded.sort();
            folded.dedup();
            assert_eq!(folded.len(), 20, "{paths:?}");
            items.reverse();
            for item in &mut items {
                item.artifacts.reverse();
            }
            let mut reversed_paths = file_paths(layout, &items);
            reversed_paths.reverse();
            assert_eq!(reversed_paths, paths);
        }
    }
}
