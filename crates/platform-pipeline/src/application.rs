use platform_resources::Client;
use platform_resources::models::{ApplicationId, ApplicationVersion, InputArtifactSpec, VersionNumber};

use crate::error::Error;

/// An application version.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SelectedApplication {
    /// The id of the application.
    pub id: ApplicationId,
    /// The version, with its inputs and outputs.
    pub version: ApplicationVersion,
}

impl SelectedApplication {
    /// Returns the given version of an application, or its latest version.
    ///
    /// # Errors
    ///
    /// [`Error::platform`]: the version does not exist, or the request failed.
    pub async fn find(client: &Client, id: &ApplicationId, version: Option<&VersionNumber>) -> Result<Self, Error> {
        let number = match version {
            Some(number) => number.clone(),
            None => client.applications().latest_version(id).await?,
        };
        Ok(Self { version: client.applications().version(id, &number).await?, id: id.clone() })
    }

    /// Returns the version number.
    pub fn number(&self) -> &str {
        self.version.version_number.as_str()
    }

    /// Returns the only input of the application: a table has one slide per item.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the application requires several files per item.
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
