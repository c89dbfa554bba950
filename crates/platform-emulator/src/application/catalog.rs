//! The built-in applications, and those of the configuration.

#[cfg(feature = "images")]
use super::images;
use super::{Application, Work, default_versions, synthetic};
use crate::config::{ApplicationConfig, Outcome};

pub(crate) struct Catalog(Vec<Application>);

impl Catalog {
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

/// Returns an application of the configuration. Properties that the configuration omits are those of the built-in
/// application in `like`.
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
        versions: if config.versions.is_empty() { default_versions() } else { config.versions.clone() },
        outputs,
        metadata_schema: config.metadata_schema.clone().unwrap_or(model.metadata_schema),
        work,
    }
}

fn built_in() -> Vec<Application> {
    let description = "Creates thousands of small files for each item, without reading slides.";
    let outputs = [synthetic::TILE];
    let mut many = Application::built_in("many-files", "Many files", description, &outputs, Work::ManyFiles);
    many.metadata_schema = synthetic::count_schema();
    let description = "Creates one file of any size for each item, without reading slides.";
    let mut huge = Application::built_in("huge-file", "Huge file", description, &[synthetic::VOLUME], Work::HugeFile);
    huge.metadata_schema = synthetic::size_schema();
    let synthetic = [outcomes(), many, huge];
    #[cfg(feature = "images")]
    return images::applications().into_iter().chain(synthetic).collect();
    #[cfg(not(feature = "images"))]
    synthetic.into()
}

fn outcomes() -> Application {
    let description = "Ends each item as its metadata specify, without reading slides.";
    let work = Work::Outcomes(Outcome::Succeeded, Vec::new());
    let mut outcomes = Application::built_in("outcomes", "Outcomes by rule", description, &[synthetic::REPORT], work);
    outcomes.metadata_schema = synthetic::outcome_schema();
    outcomes
}
