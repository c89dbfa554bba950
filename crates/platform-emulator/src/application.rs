//! The applications of the emulator. One processes real slides. The others produce difficult cases for clients: failed
//! items, thousands of files, a file larger than most disks.

mod detection;
mod grid;
mod he_tme;
mod output;
mod synthetic;
mod tissue;

use std::io;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform::Platform;
use crate::run::{Failure, Item, OutputArtifact};
use crate::storage::{About, checksum_text};

/// The name of the one input artifact of every application.
pub(crate) const INPUT: &str = "whole_slide_image";

pub(crate) struct Application {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// Latest first.
    pub(crate) versions: &'static [Version],
    outputs: &'static [Output],
    metadata_schema: Value,
    work: Work,
}

pub(crate) struct Version {
    pub(crate) number: &'static str,
    pub(crate) released_at: &'static str,
    pub(crate) changelog: &'static str,
}

/// An output file of an application.
#[derive(Clone, Copy)]
struct Output {
    name: &'static str,
    media_type: &'static str,
}

enum Work {
    Detection,
    HeTme,
    Outcomes,
    ManyFiles,
    HugeFile,
}

static APPLICATIONS: LazyLock<[Application; 5]> = LazyLock::new(|| {
    [
        Application {
            id: "tissue",
            name: "Tissue detection",
            description: "Finds the tissue on a slide: a heat map, its outlines and its areas.",
            versions: &[
                Version { number: "1.0.0", released_at: "2026-03-01T12:00:00Z", changelog: "Outlines have holes." },
                Version { number: "0.9.0", released_at: "2026-01-15T12:00:00Z", changelog: "The first version." },
            ],
            outputs: &detection::OUTPUTS,
            metadata_schema: detection::metadata_schema(),
            work: Work::Detection,
        },
        Application {
            id: "he-tme",
            name: "Atlas H&E-TME",
            description: "Requires the same metadata as the application of the platform, and finds the tissue.",
            versions: &FIRST,
            outputs: &detection::OUTPUTS,
            metadata_schema: he_tme::metadata_schema(),
            work: Work::HeTme,
        },
        Application {
            id: "outcomes",
            name: "Outcomes by rule",
            description: "Ends each item as its metadata specify, without reading slides.",
            versions: &FIRST,
            outputs: &[synthetic::REPORT],
            metadata_schema: synthetic::outcome_schema(),
            work: Work::Outcomes,
        },
        Application {
            id: "many-files",
            name: "Many files",
            description: "Creates thousands of small files for each item, without reading slides.",
            versions: &FIRST,
            outputs: &[synthetic::TILE],
            metadata_schema: synthetic::count_schema(),
            work: Work::ManyFiles,
        },
        Application {
            id: "huge-file",
            name: "Huge file",
            description: "Creates one file of any size for each item, without reading slides.",
            versions: &FIRST,
            outputs: &[synthetic::VOLUME],
            metadata_schema: synthetic::size_schema(),
            work: Work::HugeFile,
        },
    ]
});

const FIRST: [Version; 1] =
    [Version { number: "1.0.0", released_at: "2026-03-01T12:00:00Z", changelog: "The first version." }];

pub(crate) fn all() -> &'static [Application] {
    &*APPLICATIONS
}

pub(crate) fn find(id: &str) -> Option<&'static Application> {
    all().iter().find(|application| application.id == id)
}

/// An item being processed.
pub(crate) struct Job<'a> {
    pub(crate) platform: &'a Arc<Platform>,
    pub(crate) run: Uuid,
    pub(crate) item: &'a Item,
}

impl Application {
    pub(crate) fn version(&self, number: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    pub(crate) fn latest(&self) -> &Version {
        &self.versions[0]
    }

    /// Returns the API representation of a version.
    pub(crate) fn describe(&self, version: &Version) -> Value {
        let outputs = self.outputs.iter().map(|Output { name, media_type }| {
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
        match self.work {
            Work::Detection => detection::process(job).await,
            Work::HeTme => he_tme::process(job).await,
            Work::Outcomes => synthetic::outcome(job).await,
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
