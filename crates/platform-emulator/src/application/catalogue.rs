//! The built-in applications, and those of the configuration.

use super::{Application, Output, Version, Work, detection, he_tme, synthetic};
use crate::config::{ApplicationConfig, FileConfig, Outcome, VersionConfig, released_at};

/// All applications of a platform.
pub(crate) struct Catalogue(Vec<Application>);

impl Catalogue {
    /// Returns the built-in applications with those of the configuration.
    pub(crate) fn new(configured: &[ApplicationConfig]) -> Self {
        let mut all = Self(built_in());
        for config in configured {
            let application = configured_application(config);
            match all.0.iter().position(|known| known.id == config.id) {
                Some(at) => all.0[at] = application,
                None => all.0.push(application),
            }
        }
        all
    }

    pub(crate) fn all(&self) -> &[Application] {
        &self.0
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Application> {
        self.0.iter().find(|application| application.id == id)
    }
}

/// Returns an application of the configuration. What it does not state is that of its built-in model.
fn configured_application(config: &ApplicationConfig) -> Application {
    let like = config.like.as_deref().unwrap_or("outcomes");
    let model = built_in().into_iter().find(|known| known.id == like).unwrap_or_else(outcomes);
    let (outputs, work) = match model.work {
        Work::Outcomes(_, files) => {
            let files = if config.outputs.is_empty() { files } else { config.outputs.clone() };
            let named = files.iter().map(|file| (file.name.clone(), file.media_type.clone())).collect();
            (if files.is_empty() { model.outputs } else { named }, Work::Outcomes(config.outcome, files))
        }
        work => (model.outputs, work),
    };
    Application {
        id: config.id.clone(),
        name: config.name.clone().unwrap_or_else(|| config.id.clone()),
        description: config.description.clone().unwrap_or(model.description),
        organizations: config.organizations.clone(),
        versions: if config.versions.is_empty() { first() } else { config.versions.clone() },
        outputs,
        metadata_schema: config.metadata_schema.clone().unwrap_or(model.metadata_schema),
        work,
    }
}

fn built_in() -> Vec<Application> {
    let description = "Finds the tissue on a slide: a heat map, its outlines and its areas.";
    let mut tissue = application("tissue", "Tissue detection", description, &detection::OUTPUTS, Work::Detection);
    tissue.metadata_schema = detection::metadata_schema();
    tissue.versions = vec![
        version("1.0.0", "2026-03-01T12:00:00Z", "Outlines have holes."),
        version("0.9.0", "2026-01-15T12:00:00Z", "The first version."),
    ];
    let description = "Requires the same metadata as the application of the platform, and finds the tissue.";
    let mut he_tme = application("he-tme", "Atlas H&E-TME", description, &detection::OUTPUTS, Work::HeTme);
    he_tme.metadata_schema = he_tme::metadata_schema();
    // The official Python SDK knows these two ids.
    let description = "Does the same as `he-tme`.";
    let mut test_app = application("test-app", "Test application", description, &detection::OUTPUTS, Work::HeTme);
    test_app.metadata_schema = he_tme::metadata_schema();
    let description = "Creates thousands of small files for each item, without reading slides.";
    let mut many = application("many-files", "Many files", description, &[synthetic::TILE], Work::ManyFiles);
    many.metadata_schema = synthetic::count_schema();
    let description = "Creates one file of any size for each item, without reading slides.";
    let mut huge = application("huge-file", "Huge file", description, &[synthetic::VOLUME], Work::HugeFile);
    huge.metadata_schema = synthetic::size_schema();
    vec![tissue, he_tme, test_app, outcomes(), many, huge]
}

fn outcomes() -> Application {
    let description = "Ends each item as its metadata specify, without reading slides.";
    let work = Work::Outcomes(Outcome::Succeeded, Vec::new());
    let mut outcomes = application("outcomes", "Outcomes by rule", description, &[synthetic::REPORT], work);
    outcomes.metadata_schema = synthetic::outcome_schema();
    outcomes
}

fn application(id: &str, name: &str, description: &str, outputs: &[Output], work: Work) -> Application {
    Application {
        id: id.to_owned(),
        name: name.to_owned(),
        description: description.to_owned(),
        organizations: Vec::new(),
        versions: first(),
        outputs: outputs.iter().map(|output| (output.name.to_owned(), output.media_type.to_owned())).collect(),
        metadata_schema: serde_json::Value::Bool(true),
        work,
    }
}

fn first() -> Vec<Version> {
    vec![version("1.0.0", &released_at(), "The first version.")]
}

fn version(number: &str, released_at: &str, changelog: &str) -> Version {
    VersionConfig {
        number: number.to_owned(),
        released_at: released_at.to_owned(),
        changelog: changelog.to_owned(),
        documents: Vec::<FileConfig>::new(),
    }
}
