use std::collections::HashMap;

use platform_download::{FolderError, ManifestEntry, ResultFolder, apart};

use super::layout::{Key, key};

/// The names that files have in the manifest of a folder. They stay, whatever files are named by now.
pub(super) struct KeptNames {
    /// The run, if each has a folder. Otherwise a file is replaced by that of another run.
    run: Option<String>,
    /// The files by item and artifact; `None` if there are several. Read when it is needed.
    files: Option<HashMap<Key, Option<Box<str>>>>,
}

impl KeptNames {
    pub(super) fn new(run: Option<String>) -> Self {
        Self { run, files: None }
    }

    /// Returns the name of the file of an artifact: the one in the manifest or, if there is none, `file`. A file of another
    /// item is not replaced; `id` keeps them apart.
    pub(super) fn name(
        &mut self,
        folder: &ResultFolder,
        (item, artifact, id): (&str, &str, &str),
        file: &str,
    ) -> Result<String, FolderError> {
        let at = folder.recorded(file)?;
        if at.as_ref().is_some_and(|entry| (&*entry.origin.item, &*entry.origin.artifact) == (item, artifact)) {
            return Ok(file.to_owned());
        }
        if let Some(Some(known)) = self.files(folder)?.get(&origin(item, artifact)) {
            return Ok(known.to_string());
        }
        Ok(if at.is_some() { apart(file.to_owned(), id) } else { file.to_owned() })
    }

    fn files(&mut self, folder: &ResultFolder) -> Result<&HashMap<Key, Option<Box<str>>>, FolderError> {
        if self.files.is_none() {
            let mut files = HashMap::new();
            for entry in folder.entries() {
                let ManifestEntry { origin: from, file, .. } = entry?;
                if self.run.as_ref().is_none_or(|run| *run == from.run) {
                    let files = files.entry(origin(&from.item, &from.artifact));
                    files.and_modify(|file| *file = None).or_insert_with(|| Some(file.into()));
                }
            }
            self.files = Some(files);
        }
        Ok(self.files.get_or_insert_default())
    }
}

fn origin(item: &str, artifact: &str) -> Key {
    key(&format!("{item}\0{artifact}"))
}
