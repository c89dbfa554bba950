//! The applications of the emulator. Those of the feature `images` process real slides. The others produce difficult
//! cases for clients: failed items, thousands of files, a file larger than most disks.

mod catalog;
pub(crate) mod documents;
#[cfg(feature = "images")]
mod images;
pub(crate) mod processing;
mod synthetic;

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::{FileConfig, Outcome, VersionConfig, released_at};
use crate::platform::Platform;
use crate::state::run::{Failure, Item, OutputArtifact};
use crate::storage::{Properties, checksum_text};

pub(crate) use catalog::Catalog;
#[cfg(feature = "images")]
pub use images::samples;

/// The name of the only input artifact of each application.
pub(crate) const INPUT_ARTIFACT_NAME: &str = "whole_slide_image";

pub(crate) struct Application {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    /// The ids of the organizations that can use the application; empty for all organizations.
    organizations: Vec<String>,
    /// The versions, latest first.
    pub(crate) versions: Vec<VersionConfig>,
    /// The names and media types of the output artifacts.
    outputs: Vec<(String, String)>,
    metadata_schema: Value,
    behavior: Behavior,
}

/// An output file of a built-in application.
#[derive(Clone, Copy)]
struct Output {
    name: &'static str,
    media_type: &'static str,
}

/// The way in which an application processes items.
enum Behavior {
    #[cfg(feature = "images")]
    Images(images::Method),
    /// The outcome of items whose metadata do not specify one, and the results of successful items.
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
    /// Returns a built-in application that accepts any metadata.
    fn built_in(id: &str, name: &str, description: &str, outputs: &[Output], behavior: Behavior) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            description: description.to_owned(),
            organizations: Vec::new(),
            versions: default_versions(),
            outputs: outputs.iter().map(|output| (output.name.to_owned(), output.media_type.to_owned())).collect(),
            metadata_schema: Value::Bool(true),
            behavior,
        }
    }

    /// Returns true if members of the organization can use the application.
    pub(crate) fn is_visible_to(&self, organization: &str) -> bool {
        self.organizations.is_empty() || self.organizations.iter().any(|id| id == organization)
    }

    pub(crate) fn version(&self, number: &str) -> Option<&VersionConfig> {
        self.versions.iter().find(|version| version.number == number)
    }

    pub(crate) fn latest(&self) -> &VersionConfig {
        &self.versions[0]
    }

    /// Returns the API representation of a version.
    pub(crate) fn describe(&self, version: &VersionConfig) -> Value {
        let outputs = self.outputs.iter().map(|(name, media_type)| {
            let properties = json!({ "checksum_base64_crc32c": { "type": "string" }, "media_type": { "type": "string" }, "size_bytes": { "type": "integer" } });
            json!({ "name": name, "mime_type": media_type, "metadata_schema": { "type": "object", "properties": properties }, "scope": "ITEM", "visibility": "EXTERNAL" })
        });
        json!({
            "version_number": version.number,
            "changelog": version.changelog,
            "input_artifacts": [{ "name": INPUT_ARTIFACT_NAME, "mime_type": "image/tiff", "metadata_schema": self.metadata_schema }],
            "output_artifacts": outputs.collect::<Vec<_>>(),
            "released_at": version.released_at,
        })
    }

    /// Validates the metadata of an input against the application's schema. The error describes the first violation.
    pub(crate) fn check_metadata(&self, metadata: &Value) -> Result<(), String> {
        jsonschema::validate(&self.metadata_schema, metadata)
            .map_err(|error| format!("metadata{}: {error}", error.instance_path()))
    }

    pub(crate) async fn process(&self, job: &Job<'_>) -> Result<Vec<OutputArtifact>, Failure> {
        match &self.behavior {
            #[cfg(feature = "images")]
            Behavior::Images(method) => method.process(job).await,
            Behavior::Outcomes(outcome, files) => synthetic::outcome(job, *outcome, files).await,
            Behavior::ManyFiles => synthetic::many_files(job).await,
            Behavior::HugeFile => synthetic::huge_file(job).await,
        }
    }
}

fn default_versions() -> Vec<VersionConfig> {
    vec![version("1.0.0", &released_at(), "The first version.")]
}

fn version(number: &str, released_at: &str, changelog: &str) -> VersionConfig {
    VersionConfig {
        number: number.to_owned(),
        released_at: released_at.to_owned(),
        changelog: changelog.to_owned(),
        documents: Vec::new(),
    }
}

impl Job<'_> {
    /// Stores a file and returns its artifact.
    async fn store(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<OutputArtifact, Failure> {
        let key = self.object_key(name);
        let store = async {
            let mut upload = self.platform.objects.create().await?;
            upload.write(bytes).await?;
            let object = upload.finish(media_type).await?;
            self.platform.put_object(&self.platform.accounts.files_owner().bucket, &key, object).await
        };
        let object = store.await.map_err(|error: io::Error| Failure::System(error.to_string()))?;
        Ok(self.artifact(name, key, &object.properties))
    }

    fn object_key(&self, name: &str) -> String {
        format!("results/{}/{}/{}", self.run, self.item.id, name.replace(':', "/"))
    }

    fn artifact(&self, name: &str, key: String, properties: &Properties) -> OutputArtifact {
        let metadata = json!({ "checksum_base64_crc32c": checksum_text(properties.crc32c), "media_type": properties.content_type, "size_bytes": properties.bytes });
        OutputArtifact { id: self.platform.random.uuid(), name: name.to_owned(), key, metadata }
    }
}
