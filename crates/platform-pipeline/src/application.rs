use platform_resources::Client;
use platform_resources::models::{ApplicationId, ApplicationVersion, InputArtifactSpec, VersionNumber};

use crate::error::Error;

/// An application and one of its versions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SelectedApplication {
    /// The id of the application.
    pub id: ApplicationId,
    /// The version, with the specifications of its inputs and outputs.
    pub version: ApplicationVersion,
}

impl SelectedApplication {
    /// Requests a version of an application. If `version` is `None`, requests its latest version.
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

    /// Returns the only input of the application. An application with several inputs cannot be used with a table,
    /// because a table has one file per item.
    ///
    /// # Errors
    ///
    /// [`Error::is_input`]: the application does not have exactly one input.
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
