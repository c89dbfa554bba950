use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};

use platform_download::escape;
use platform_resources::JsonValue;
use platform_resources::models::{Application, ApplicationVersion};
use tempfile::NamedTempFile;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::error::Error;

/// The JSON Schemas of the inputs and outputs of an application version as files, with an index.
///
/// ```no_run
/// use std::path::Path;
///
/// use platform_pipeline::SchemaFiles;
/// use platform_resources::Client;
///
/// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let application = client.applications().get(&"he-tme".into()).await?;
/// let version = client.applications().version(&application.application_id, &"1.0.0".into()).await?;
/// SchemaFiles::new(&application, &version).write(Path::new("schemas"))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFiles {
    stem: String,
    /// The names and contents of the files.
    files: Vec<(String, String)>,
}

impl SchemaFiles {
    /// Returns a file for each artifact that has a schema, and an index in Markdown.
    pub fn new(application: &Application, version: &ApplicationVersion) -> Self {
        let stem = format!("{}_{}", application.application_id, version.version_number);
        let inputs =
            version.input_artifacts.iter().map(|artifact| ("input", &artifact.name, &artifact.metadata_schema));
        let outputs =
            version.output_artifacts.iter().map(|artifact| ("output", &artifact.name, &artifact.metadata_schema));
        let mut files = Vec::new();
        let mut index =
            format!("# {} {}\n\n{}\n", application.name, version.version_number, application.description.trim());
        for (direction, name, schema) in inputs.chain(outputs) {
            if schema.is_empty() {
                index += &format!("\n- {direction} {name}: no schema");
                continue;
            }
            let file = escape(&format!("{stem}_{direction}_{name}.json"));
            index += &format!("\n- {direction} {name}: `{file}`");
            files.push((file, format!("{:#}\n", JsonValue::Object(schema.clone()))));
        }
        files.push((escape(&format!("{stem}_schemata.md")), index + "\n"));
        Self { stem, files }
    }

    /// Writes the files into a folder, each atomically, and returns their paths.
    ///
    /// # Errors
    ///
    /// The folder cannot be created, or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let outcome = fs::create_dir_all(folder)
            .and_then(|()| self.files.iter().map(|(name, text)| publish(folder, name, text.as_bytes())).collect());
        outcome.map_err(|error| unwritable(folder, error))
    }

    /// Writes one zip archive of the files into a folder, and returns its path.
    ///
    /// # Errors
    ///
    /// The errors of [`write`](Self::write).
    pub fn write_archive(&self, folder: &Path) -> Result<PathBuf, Error> {
        let outcome = fs::create_dir_all(folder).and_then(|()| {
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            for (name, text) in &self.files {
                zip.start_file(name.as_str(), SimpleFileOptions::default())?;
                zip.write_all(text.as_bytes())?;
            }
            publish(folder, &escape(&format!("{}_schemata.zip", self.stem)), zip.finish()?.get_ref())
        });
        outcome.map_err(|error| unwritable(folder, error))
    }
}

/// Writes a file atomically.
fn publish(folder: &Path, name: &str, content: &[u8]) -> io::Result<PathBuf> {
    let mut file = NamedTempFile::new_in(folder)?;
    File::write_all(file.as_file_mut(), content)?;
    let path = folder.join(name);
    file.persist(&path)?;
    Ok(path)
}

fn unwritable(folder: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot write the schemas to '{}'", folder.display()), error)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn files() -> SchemaFiles {
        let application = json!({ "application_id": "he-tme", "name": "HE", "description": " Tissue ",
            "regulatory_classes": [], "versions": [] });
        let version = json!({
            "version_number": "1.0.0", "changelog": "", "released_at": "2026-11-25T08:00:00Z",
            "input_artifacts": [{ "name": "slide", "mime_type": "image/tiff", "metadata_schema": { "type": "object" } }],
            "output_artifacts": [{ "name": "a/b", "mime_type": "text/csv", "metadata_schema": {}, "scope": "ITEM",
                "visibility": "EXTERNAL" }],
        });
        SchemaFiles::new(&from_value(application).unwrap(), &from_value(version).unwrap())
    }

    #[test]
    fn index_lists_artifacts_with_and_without_schema() {
        let folder = tempfile::tempdir().unwrap();
        let paths = files().write(&folder.path().join("new")).unwrap();
        let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["he-tme_1.0.0_input_slide.json", "he-tme_1.0.0_schemata.md"]);
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "{\n  \"type\": \"object\"\n}\n");
        let index = fs::read_to_string(&paths[1]).unwrap();
        assert!(index.starts_with("# HE 1.0.0\n\nTissue\n"), "{index}");
        assert!(index.contains("- output a/b: no schema"), "{index}");
    }

    #[test]
    fn archive_contains_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = files().write_archive(folder.path()).unwrap();
        let archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
        assert_eq!(archive.len(), 2);
    }
}
