//! The applications of the emulator. One processes real slides. The others produce difficult cases for clients: failed
//! items, thousands of files, a file larger than most disks.

mod catalogue;
mod detection;
pub(crate) mod documents;
mod grid;
mod he_tme;
mod output;
pub(crate) mod processing;
pub mod samples;
mod synthetic;
mod tissue;

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::{FileConfig, Outcome};
use crate::platform::Platform;
use crate::state::run::{Failure, Item, OutputArtifact};
use crate::storage::{About, checksum_text};

pub(crate) use crate::config::VersionConfig as Version;
pub(crate) use catalogue::Catalogue;

/// The name of the one input artifact of every application.
pub(crate) const INPUT: &str = "whole_slide_image";

pub(crate) struct Application {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// The ids of the organizations that can use it; empty for all.
    organizations: Vec<String>,
    /// Latest first.
    pub(crate) versions: Vec<Version>,
    /// Names and media types.
    outputs: Vec<(String, String)>,
    metadata_schema: Value,
    work: Work,
}

/// An output file of a built-in application.
#[derive(Clone, Copy)]
struct Output {
    name: &'static str,
    media_type: &'static str,
}

enum Work {
    Detection,
    HeTme,
    /// The outcome of items whose metadata state none, and the results of successful ones.
    Outcomes(Outcome, Vec<FileConfig>),
    ManyFiles,
    HugeFile,
}

/// An item being processed.
pub(crate) struct Job<'a> {
    pub(crate) platform: &'a Arc<Platform>,
    pub(crate) run: Uuid,
    pub(crate) item: &'a Item,
}

impl Application {
    /// Returns true if members of the organization can use it.
    pub(crate) fn is_visible_to(&self, organization: &str) -> bool {
        self.organizations.is_empty() || self.organizations.iter().any(|known| known == organization)
    }

    pub(crate) fn version(&self, number: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    pub(crate) fn latest(&self) -> &Version {
        &self.versions[0]
    }

    /// Returns the API representation of a version.
    pub(crate) fn describe(&self, version: &Version) -> Value {
        let outputs = self.outputs.iter().map(|(name, media_type)| {
            let properties = json!({ "checksum_base64_crc32c": { "type": "string" }, "media_type": { "type": "string" }, "size_bytes": { "type": "integer" } });
            json!({ "name": name, "mime_type": media_type, "metadata_schema": { "type": "object", "properties": properties }, "scope": "ITEM", "visibility": "EXTERNAL" })
        });
        json!({
            "version_number": version.number,
            "changelog": version.changelog,
            "input_artifacts": [{ "name": INPUT, "mime_type": "image/tiff", "metadata_schema": self.metadata_schema }],
            "output_artifacts": outputs.collect::<Vec<_>>(),
            "released_at": version.released_at,
        })
    }

    /// Validates the metadata of an input against the application's schema. Returns the reason if invalid.
    pub(crate) fn check_metadata(&self, metadata: &Value) -> Result<(), String> {
        jsonschema::validate(&self.metadata_schema, metadata)
            .map_err(|error| format!("metadata{}: {error}", error.instance_path()))
    }

    pub(crate) async fn process(&self, job: &Job<'_>) -> Result<Vec<OutputArtifact>, Failure> {
        match &self.work {
            Work::Detection => detection::process(job).await,
            Work::HeTme => he_tme::process(job).await,
            Work::Outcomes(outcome, files) => synthetic::outcome(job, *outcome, files).await,
            Work::ManyFiles => synthetic::many_files(job).await,
            Work::HugeFile => synthetic::huge_file(job).await,
        }
    }
}

impl Job<'_> {
    /// Stores a file and returns its artifact.
    async fn store(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<OutputArtifact, Failure> {
        let key = self.key(name);
        let stored = async {
            let mut upload = self.platform.objects.create().await?;
            upload.write(bytes).await?;
            let object = upload.finish(media_type).await?;
            self.platform.keep(&self.platform.accounts.files().bucket, &key, object).await
        };
        let object = stored.await.map_err(|error: io::Error| Failure::System(error.to_string()))?;
        Ok(self.artifact(name, key, &object.about))
    }

    fn key(&self, name: &str) -> String {
        format!("results/{}/{}/{}", self.run, self.item.id, name.replace(':', "/"))
    }

    fn artifact(&self, name: &str, key: String, about: &About) -> OutputArtifact {
        let metadata = json!({ "checksum_base64_crc32c": checksum_text(about.crc32c), "media_type": about.content_type, "size_bytes": about.bytes });
        OutputArtifact { id: self.platform.random.uuid(), name: name.to_owned(), key, metadata }
    }
}
