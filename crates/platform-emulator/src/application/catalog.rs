//! The built-in applications, and the applications of the configuration.

#[cfg(feature = "images")]
use super::images;
use super::{Application, Behavior, default_versions, synthetic};
use crate::config::{ApplicationConfig, Outcome};

pub(crate) struct Catalog(Vec<Application>);

impl Catalog {
    /// Creates the catalog. An application of the configuration replaces the built-in application with the same id.
    pub(crate) fn new(configured: &[ApplicationConfig]) -> Self {
        let mut applications = Self(built_in());
        for config in configured {
            let application = configured_application(config);
            match applications.0.iter().position(|application| application.id == config.id) {
                Some(index) => applications.0[index] = application,
                None => applications.0.push(application),
            }
        }
        applications
    }

    pub(crate) fn all(&self) -> &[Application] {
        &self.0
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Application> {
        self.0.iter().find(|application| application.id == id)
    }
}

/// Returns an application of the configuration. The built-in application that `like` names provides the properties that
/// the configuration omits.
fn configured_application(config: &ApplicationConfig) -> Application {
    let like = config.like.as_deref().unwrap_or("outcomes");
    let template = built_in().into_iter().find(|application| application.id == like).unwrap_or_else(outcomes);
    let (outputs, behavior) = match template.behavior {
        Behavior::Outcomes(_, files) => {
            let files = if config.outputs.is_empty() { files } else { config.outputs.clone() };
            let names_and_types = files.iter().map(|file| (file.name.clone(), file.media_type.clone())).collect();
            (
                if files.is_empty() { template.outputs } else { names_and_types },
                Behavior::Outcomes(config.outcome, files),
            )
        }
        behavior => (template.outputs, behavior),
    };
    Application {
        id: config.id.clone(),
        name: config.name.clone().unwrap_or_else(|| config.id.clone()),
        description: config.description.clone().unwrap_or(template.description),
        organizations: config.organizations.clone(),
        versions: if config.versions.is_empty() { default_versions() } else { config.versions.clone() },
        outputs,
        metadata_schema: config.metadata_schema.clone().unwrap_or(template.metadata_schema),
        behavior,
    }
}

fn built_in() -> Vec<Application> {
    let description = "Creates thousands of small files for each item, without reading slides.";
    let outputs = [synthetic::TILE];
    let mut many = Application::built_in("many-files", "Many files", description, &outputs, Behavior::ManyFiles);
    many.metadata_schema = synthetic::count_schema();
    let description = "Creates one file of any size for each item, without reading slides.";
    let mut huge =
        Application::built_in("huge-file", "Huge file", description, &[synthetic::VOLUME], Behavior::HugeFile);
    huge.metadata_schema = synthetic::size_schema();
    let synthetic = [outcomes(), many, huge];
    #[cfg(feature = "images")]
    return images::applications().into_iter().chain(synthetic).collect();
    #[cfg(not(feature = "images"))]
    synthetic.into()
}

fn outcomes() -> Application {
    let description = "Ends each item as its metadata specify, without reading slides.";
    let behavior = Behavior::Outcomes(Outcome::Succeeded, Vec::new());
    let mut outcomes =
        Application::built_in("outcomes", "Outcomes by rule", description, &[synthetic::REPORT], behavior);
    outcomes.metadata_schema = synthetic::outcome_schema();
    outcomes
}
