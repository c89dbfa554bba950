//! The applications that process real slides.

mod detection;
mod grid;
mod he_tme;
mod output;
pub mod samples;
mod tissue;

use super::{Application, Behavior, Job, version};
use crate::state::run::{Failure, OutputArtifact};

/// The method by which an application processes a slide. The methods differ in the metadata that they require.
#[derive(Clone, Copy)]
pub(crate) enum Method {
    /// The method of the application `tissue`.
    Detection,
    /// The method of `he-tme`. It requires the same metadata as the application of the platform.
    HeTme,
}

impl Method {
    pub(super) async fn process(self, job: &Job<'_>) -> Result<Vec<OutputArtifact>, Failure> {
        match self {
            Self::Detection => detection::process(job).await,
            Self::HeTme => he_tme::process(job).await,
        }
    }
}

pub(super) fn applications() -> [Application; 3] {
    let application = |id, name, description, method| {
        Application::built_in(id, name, description, &detection::OUTPUTS, Behavior::Images(method))
    };
    let description = "Finds the tissue on a slide: a heat map, its outlines and its areas.";
    let mut tissue = application("tissue", "Tissue detection", description, Method::Detection);
    tissue.metadata_schema = detection::metadata_schema();
    tissue.versions = vec![
        version("1.0.0", "2026-03-01T12:00:00Z", "Outlines have holes."),
        version("0.9.0", "2026-01-15T12:00:00Z", "The first version."),
    ];
    let description = "Requires the same metadata as the application of the platform, and finds the tissue.";
    let mut he_tme = application("he-tme", "Atlas H&E-TME", description, Method::HeTme);
    he_tme.metadata_schema = he_tme::metadata_schema();
    // The official Python SDK uses the ids `he-tme` and `test-app`.
    let mut test_app = application("test-app", "Test application", "Does the same as `he-tme`.", Method::HeTme);
    test_app.metadata_schema = he_tme::metadata_schema();
    [tissue, he_tme, test_app]
}
