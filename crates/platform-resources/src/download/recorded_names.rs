use std::collections::HashMap;

use platform_download::{FolderError, ManifestEntry, disambiguate, escape};

use super::destination::Destination;
use super::layout::{NameKey, name_key};

/// The names of the files in the manifest of a folder. An artifact keeps its recorded name even if the layout differs.
pub(super) struct RecordedNames {
    run: String,
    /// True if the layout has a folder for each run. Otherwise results of one run replace those of another.
    has_folder_per_run: bool,
    /// The file by item, artifact and extension; the value is `None` if there are several files. It is read from the
    /// manifest on first use.
    files: Option<HashMap<NameKey, Option<Box<str>>>>,
}

impl RecordedNames {
    pub(super) fn new(run: String, has_folder_per_run: bool) -> Self {
        Self { run, has_folder_per_run, files: None }
    }

    /// Returns the file name of an artifact: the recorded name, or else `file`. If the manifest contains `file` for
    /// another item or artifact, it is disambiguated by `id`. `is_unique` is true if no other artifact of the item has
    /// the same name and extension.
    pub(super) fn file_name(
        &mut self,
        destination: &impl Destination,
        (item, artifact, id): (&str, &str, &str),
        file: &str,
        is_unique: bool,
    ) -> Result<String, FolderError> {
        let existing = destination.entry(file)?;
        if existing.as_ref().is_some_and(|entry| (&*entry.origin.item, &*entry.origin.artifact) == (item, artifact)) {
            return Ok(file.to_owned());
        }
        if is_unique
            && let Some(Some(recorded_file)) = self.files(destination)?.get(&artifact_key(item, artifact, file))
        {
            return Ok(recorded_file.to_string());
        }
        Ok(if existing.is_some() { disambiguate(file.to_owned(), id) } else { file.to_owned() })
    }

    fn files(&mut self, destination: &impl Destination) -> Result<&HashMap<NameKey, Option<Box<str>>>, FolderError> {
        if self.files.is_none() {
            self.files = Some(if self.has_folder_per_run {
                self.index_files(destination.entries_of(&self.run))?
            } else {
                self.index_files(destination.entries())?
            });
        }
        Ok(self.files.get_or_insert_default())
    }

    /// Returns the files of `entries` that an artifact of this run keeps or replaces.
    fn index_files(
        &self,
        entries: impl Iterator<Item = Result<ManifestEntry, FolderError>>,
    ) -> Result<HashMap<NameKey, Option<Box<str>>>, FolderError> {
        let mut files = HashMap::new();
        for entry in entries {
            let ManifestEntry { origin, file, .. } = entry?;
            let is_replaceable = || !self.has_folder_per_run && !file.starts_with(&format!("{}/", escape(&origin.run)));
            if origin.run == self.run || is_replaceable() {
                let files = files.entry(artifact_key(&origin.item, &origin.artifact, &file));
                files.and_modify(|file| *file = None).or_insert_with(|| Some(file.into()));
            }
        }
        Ok(files)
    }
}

/// Returns the extension of a file name. It distinguishes artifacts with equal names and different media types.
/// `geojson` is returned as `json`, because some layouts name such files `.json`.
pub(super) fn extension(file: &str) -> &str {
    let extension =
        file.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension);
    if extension == "geojson" { "json" } else { extension }
}

/// Returns the key of an artifact in [`RecordedNames`].
fn artifact_key(item: &str, artifact: &str, file: &str) -> NameKey {
    name_key(&format!("{item}\0{artifact}\0{}", extension(file)))
}

#[cfg(test)]
mod tests {
    use platform_download::ResultFolder;
    use serde_json::json;

    use super::*;

    /// Returns a folder whose manifest contains `files`: triples of run, artifact and path.
    async fn folder(path: &std::path::Path, files: &[(&str, &str, &str)]) -> ResultFolder {
        let mut folder = ResultFolder::open(path).await.unwrap();
        for (run, artifact, file) in files {
            let entry = json!({
                "run": run, "application": "tissue", "version": "1.0.0", "item": "a", "artifact": artifact, "file": file,
                "bytes": 0, "crc32c": platform_download::Crc32c::default(), "verification": "stated",
                "sha256": platform_download::Sha256::of(b""), "at": "2026-11-25T08:00:00Z",
            });
            folder.record(serde_json::from_value(entry).unwrap()).await.unwrap();
        }
        folder
    }

    #[tokio::test]
    async fn recorded_name_is_used_only_for_a_unique_artifact() {
        let path = tempfile::tempdir().unwrap();
        let folder = folder(path.path(), &[("r", "tissue", "old/tissue.csv")]).await;
        let mut recorded_names = RecordedNames::new("r".to_owned(), false);
        let mut name =
            |file, is_unique| recorded_names.file_name(&folder, ("a", "tissue", "id"), file, is_unique).unwrap();
        assert_eq!(name("a/tissue.csv", true), "old/tissue.csv");
        assert_eq!(name("a/tissue.tiff", true), "a/tissue.tiff");
        assert_eq!(name("a/tissue.csv", false), "a/tissue.csv");
    }

    #[tokio::test]
    async fn file_in_the_folder_of_another_run_is_not_replaced() {
        let path = tempfile::tempdir().unwrap();
        let folder = folder(path.path(), &[("one", "x", "one/a/x.csv"), ("one", "y", "a/y.csv")]).await;
        let mut recorded_names = RecordedNames::new("two".to_owned(), false);
        let mut name = |artifact, file| recorded_names.file_name(&folder, ("a", artifact, "id"), file, true).unwrap();
        assert_eq!((name("x", "b/x.csv"), name("y", "b/y.csv")), ("b/x.csv".to_owned(), "a/y.csv".to_owned()));
        let mut recorded_names = RecordedNames::new("two".to_owned(), true);
        assert_eq!(recorded_names.file_name(&folder, ("a", "y", "id"), "two/a/y.csv", true).unwrap(), "two/a/y.csv");
    }

    #[tokio::test]
    async fn new_run_in_its_own_folder_does_not_read_the_entries_of_others() {
        let path = tempfile::tempdir().unwrap();
        let folder = folder(path.path(), &[("one", "x", "one/a/x.csv"), ("two", "x", "old/x.csv")]).await;
        let manifest = path.path().join("manifest.jsonl");
        let text = std::fs::read_to_string(&manifest).unwrap();
        let (first, second) = text.split_once('\n').unwrap();
        // The first entry is replaced by spaces, so that reading it is an error.
        std::fs::write(manifest, format!("{}\n{second}", " ".repeat(first.len()))).unwrap();
        let name =
            |run: &str, file| RecordedNames::new(run.to_owned(), true).file_name(&folder, ("a", "x", "id"), file, true);
        assert_eq!(name("three", "three/a/x.csv").unwrap(), "three/a/x.csv");
        assert_eq!(name("two", "two/a/x.csv").unwrap(), "old/x.csv");
        name("one", "one/b/x.csv").unwrap_err();
    }
}
