//! What a run is to be of: an application in a version, and whether the platform is well enough to begin.

use anyhow::anyhow;
use clap::Args;
use platform_resources::models::{ApplicationId, ApplicationVersion, InputArtifactSpec, VersionNumber};
use platform_resources::{Client, Health};

use crate::access::Shell;
use crate::application::meant;
use crate::exit::Failure;

/// Which version of an application.
#[derive(Args, Clone)]
pub(super) struct Version {
    /// The version of the application; without it, the latest.
    #[arg(long, value_name = "VERSION")]
    pub(super) application_version: Option<VersionNumber>,
}

/// Whether the platform is asked how it is.
#[derive(Args, Clone, Copy)]
pub(super) struct Force {
    /// Does not ask first whether the platform is well.
    #[arg(long, overrides_with = "no_force")]
    force: bool,
    /// Asks first: so it is unless something is said.
    #[arg(long, overrides_with = "force", hide = true)]
    no_force: bool,
}

impl Force {
    /// Fails if the platform says that it does not work.
    pub(super) async fn check(self, client: &Client, shell: &Shell) -> Result<(), Failure> {
        if self.force {
            return Ok(());
        }
        let because = |reason: Option<String>| reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        match client.health().await? {
            Health::Down(reason) => {
                let text = format!("the platform is down{}; --force goes on all the same", because(reason));
                return Err(Failure::unhealthy(anyhow!(text)));
            }
            Health::Degraded(reason) => shell.output.note(format!("the platform is degraded{}", because(reason))),
            Health::Unknown(state) => shell.output.note(format!("the platform says that it is {state}")),
            _ => {}
        }
        Ok(())
    }
}

/// An application in a version.
pub(super) struct Application {
    pub(super) id: ApplicationId,
    pub(super) version: ApplicationVersion,
}

impl Application {
    pub(super) async fn find(client: &Client, id: &str, version: &Version) -> Result<Self, Failure> {
        let id = ApplicationId::from(id);
        let found = async {
            let number = meant(client, &id, version.application_version.as_ref()).await?;
            client.applications().version(&id, &number).await
        };
        Ok(Self { version: found.await.map_err(|error| unknown(error, &id))?, id })
    }

    pub(super) fn number(&self) -> &str {
        self.version.version_number.as_str()
    }

    /// Its only input: a table has one slide for each item.
    pub(super) fn input(&self) -> Result<&InputArtifactSpec, Failure> {
        match self.version.input_artifacts.as_slice() {
            [input] => Ok(input),
            inputs => Err(Failure::bad_input(anyhow!(
                "{} {} takes {} files for each item, and a table has one: submit JSON",
                self.id,
                self.number(),
                inputs.len()
            ))),
        }
    }
}

fn unknown(error: platform_resources::Error, id: &ApplicationId) -> Failure {
    let is_not_found = error.is_not_found();
    let failure = Failure::from(error);
    if is_not_found { failure.context(format!("there is no application {id} in this version")) } else { failure }
}
