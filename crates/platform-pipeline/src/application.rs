use platform_resources::Client;
use platform_resources::models::{ApplicationId, ApplicationVersion, InputArtifactSpec, VersionNumber};

use crate::Error;

/// An application in a version.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SelectedApplication {
    /// The id of the application.
    pub id: ApplicationId,
    /// The version, with its inputs and outputs.
    pub version: ApplicationVersion,
}

impl SelectedApplication {
    /// Fetches the given version of an application, or its latest version.
    ///
    /// # Errors
    ///
    /// [`Error::platform`]: the version does not exist, or the platform cannot be asked.
    pub async fn find(client: &Client, id: &ApplicationId, version: Option<&VersionNumber>) -> Result<Self, Error> {
        let number = match version {
            Some(number) => number.clone(),
            None => client.applications().latest_version(id).await?,
        };
        Ok(Self { version: client.applications().version(id, &number).await?, id: id.clone() })
    }

    /// The number of the version.
    pub fn number(&self) -> &str {
        self.version.version_number.as_str()
    }

    /// The only input of the application: a table has one slide for each item.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the application takes several files for each item.
    pub fn input(&self) -> Result<&InputArtifactSpec, Error> {
        match self.version.input_artifacts.as_slice() {
            [input] => Ok(input),
            inputs => Err(Error::input(format!(
                "{} {} takes {} files for each item, and a table has one: submit JSON",
                self.id,
                self.number(),
                inputs.len()
            ))),
        }
    }
}
