use std::collections::HashMap;

use platform_download::{FolderError, ManifestEntry, ResultFolder, disambiguate, escape};

use super::layout::{Key, key};

/// The names of files in the manifest of a folder. They are kept, whatever the layout.
pub(super) struct RecordedNames {
    run: String,
    /// Each run has a folder. Otherwise a file is replaced by that of another run.
    per_run: bool,
    /// The files by item, artifact and extension; `None` if there are several. Read on demand.
    files: Option<HashMap<Key, Option<Box<str>>>>,
}

impl RecordedNames {
    pub(super) fn new(run: String, per_run: bool) -> Self {
        Self { run, per_run, files: None }
    }

    /// Returns the name of the file of an artifact: the one in the manifest, or else `file`. A file of another item is not
    /// replaced: `id` distinguishes the two. With `is_unique`, no other artifact of the item has this name and extension.
    pub(super) fn name(
        &mut self,
        folder: &ResultFolder,
        (item, artifact, id): (&str, &str, &str),
        file: &str,
        is_unique: bool,
    ) -> Result<String, FolderError> {
        let at = folder.recorded(file)?;
        if at.as_ref().is_some_and(|entry| (&*entry.origin.item, &*entry.origin.artifact) == (item, artifact)) {
            return Ok(file.to_owned());
        }
        if is_unique && let Some(Some(known)) = self.files(folder)?.get(&origin(item, artifact, file)) {
            return Ok(known.to_string());
        }
        Ok(if at.is_some() { disambiguate(file.to_owned(), id) } else { file.to_owned() })
    }

    fn files(&mut self, folder: &ResultFolder) -> Result<&HashMap<Key, Option<Box<str>>>, FolderError> {
        if self.files.is_none() {
            let mut files = HashMap::new();
            for entry in folder.entries() {
                let ManifestEntry { origin: from, file, .. } = entry?;
                let is_replaceable = || !self.per_run && !file.starts_with(&format!("{}/", escape(&from.run)));
                if from.run == self.run || is_replaceable() {
                    let files = files.entry(origin(&from.item, &from.artifact, &file));
                    files.and_modify(|file| *file = None).or_insert_with(|| Some(file.into()));
                }
            }
            self.files = Some(files);
        }
        Ok(self.files.get_or_insert_default())
    }
}

/// Returns the extension of a file name, by which artifacts with equal names and different media types differ. It is the
/// same in all layouts: some name a `geojson` file `json`.
pub(super) fn extension(file: &str) -> &str {
    let extension =
        file.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension);
    if extension == "geojson" { "json" } else { extension }
}

fn origin(item: &str, artifact: &str, file: &str) -> Key {
    key(&format!("{item}\0{artifact}\0{}", extension(file)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns a folder whose manifest has these files, by run, artifact and path.
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
    async fn artifacts_of_one_name_do_not_share_a_kept_file() {
        let path = tempfile::tempdir().unwrap();
        let folder = folder(path.path(), &[("r", "tissue", "old/tissue.csv")]).await;
        let mut kept = RecordedNames::new("r".to_owned(), false);
        let mut name = |file, is_unique| kept.name(&folder, ("a", "tissue", "id"), file, is_unique).unwrap();
        assert_eq!(name("a/tissue.csv", true), "old/tissue.csv");
        assert_eq!(name("a/tissue.tiff", true), "a/tissue.tiff");
        assert_eq!(name("a/tissue.csv", false), "a/tissue.csv");
    }

    #[tokio::test]
    async fn file_in_the_folder_of_another_run_is_not_replaced() {
        let path = tempfile::tempdir().unwrap();
        let folder = folder(path.path(), &[("one", "x", "one/a/x.csv"), ("one", "y", "a/y.csv")]).await;
        let mut kept = RecordedNames::new("two".to_owned(), false);
        let mut name = |artifact, file| kept.name(&folder, ("a", artifact, "id"), file, true).unwrap();
        assert_eq!((name("x", "b/x.csv"), name("y", "b/y.csv")), ("b/x.csv".to_owned(), "a/y.csv".to_owned()));
        let mut kept = RecordedNames::new("two".to_owned(), true);
        assert_eq!(kept.name(&folder, ("a", "y", "id"), "two/a/y.csv", true).unwrap(), "two/a/y.csv");
    }
}
