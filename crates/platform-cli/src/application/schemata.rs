use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use platform_download::escape;
use platform_resources::models::{Application, ApplicationId, ApplicationVersion};
use serde_json::{json, to_string_pretty};
use tempfile::NamedTempFile;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::Release;
use crate::context::Context;
use crate::error::CliError;
use crate::sanitize::sanitize;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    release: Release,
    /// Folder for the files; created if absent
    #[arg(long, value_name = "DIR", default_value = ".")]
    destination: PathBuf,
    /// Write one zip archive instead of single files
    #[arg(long, overrides_with = "_no_zip")]
    zip: bool,
    #[arg(long = "no-zip", overrides_with = "zip", hide = true)]
    _no_zip: bool,
}

impl Arguments {
    /// Returns the application that the command is about.
    pub(super) fn application(&self) -> &ApplicationId {
        &self.release.application
    }
}

/// A file to write: its name and its content.
type Page = (String, String);

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let Arguments { release, destination, zip, _no_zip } = arguments;
    let client = context.client()?;
    let number = release.version(&client).await?;
    let applications = client.applications();
    let application = applications.get(&release.application).await?;
    let version = applications.version(&release.application, &number).await?;
    let stem = format!("{}_{}", application.application_id, version.version_number);
    let pages = pages(&stem, &application, &version)?;
    let archive = zip.then(|| format!("{stem}_schemata.zip"));
    let files = write(&destination, &pages, archive.as_deref());
    let files = files.with_context(|| format!("cannot write the schemas to '{}'", destination.display()))?;
    let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    let value = json!({
        "application_id": application.application_id,
        "version_number": version.version_number,
        "files": names,
    });
    context.output.one(&value, || names.iter().map(sanitize).collect::<Vec<_>>().join("\n"))
}

/// Returns a schema for each artifact that has one, and an index page.
fn pages(stem: &str, application: &Application, version: &ApplicationVersion) -> Result<Vec<Page>, CliError> {
    let inputs = version.input_artifacts.iter().map(|artifact| ("input", &artifact.name, &artifact.metadata_schema));
    let outputs = version.output_artifacts.iter().map(|artifact| ("output", &artifact.name, &artifact.metadata_schema));
    let mut pages = Vec::new();
    let mut index =
        format!("# {} {}\n\n{}\n", application.name, version.version_number, application.description.trim());
    for (direction, name, schema) in inputs.chain(outputs) {
        let file = format!("{stem}_{direction}_{name}.json");
        index += &if schema.is_empty() {
            format!("\n- {direction} {name}: no schema")
        } else {
            format!("\n- {direction} {name}: `{}`", escape(&file))
        };
        if !schema.is_empty() {
            pages.push((file, to_string_pretty(schema)? + "\n"));
        }
    }
    pages.push((format!("{stem}_schemata.md"), index + "\n"));
    Ok(pages.into_iter().map(|(name, text)| (escape(&name), text)).collect())
}

/// Writes the files, or one archive of them, atomically. Returns their paths.
fn write(folder: &Path, pages: &[Page], archive: Option<&str>) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    if let Some(name) = archive {
        let written = place(folder, &escape(name), |file| {
            let mut zip = ZipWriter::new(file);
            for (name, text) in pages {
                zip.start_file(name.as_str(), SimpleFileOptions::default())?;
                zip.write_all(text.as_bytes())?;
            }
            zip.finish()?;
            Ok(())
        });
        return Ok(vec![written?]);
    }
    pages.iter().map(|(name, text)| place(folder, name, |file| file.write_all(text.as_bytes()))).collect()
}

fn place(folder: &Path, name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<PathBuf> {
    let mut new = NamedTempFile::new_in(folder)?;
    fill(new.as_file_mut())?;
    let path = folder.join(name);
    new.persist(&path)?;
    Ok(path)
}
