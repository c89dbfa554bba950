//! The application version of a run, and a health check before the start.

use anyhow::anyhow;
use clap::Args;
use platform_pipeline::SelectedApplication;
use platform_resources::models::{ApplicationId, VersionNumber};
use platform_resources::{Client, Health};

use crate::context::Context;
use crate::error::CliError;
use crate::unknown_application::explain;

/// Which version of an application.
#[derive(Args, Clone)]
pub(super) struct VersionArgs {
    /// Version of the application [default: the latest]
    #[arg(long, value_name = "VERSION")]
    pub(super) application_version: Option<VersionNumber>,
}

/// The option that skips the health check.
#[derive(Args, Clone, Copy)]
pub(super) struct HealthCheckArgs {
    /// Skip the health check of the platform
    #[arg(long, overrides_with = "no_force")]
    force: bool,
    /// Check the health of the platform first (default)
    #[arg(long, overrides_with = "force", hide = true)]
    no_force: bool,
}

impl HealthCheckArgs {
    /// Returns an error if the platform reports that it is down.
    pub(super) async fn check(self, client: &Client, context: &Context) -> Result<(), CliError> {
        if self.force {
            return Ok(());
        }
        let because = |reason: Option<String>| reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        match client.health_with_retries().await? {
            Health::Down(reason) => {
                let text = format!("the platform is down{}; --force skips this check", because(reason));
                return Err(CliError::unhealthy(anyhow!(text)));
            }
            Health::Degraded(reason) => context.output.note(format!("the platform is degraded{}", because(reason))),
            Health::Unknown(state) => context.output.note(format!("the platform reports the unknown state {state}")),
            _ => {}
        }
        Ok(())
    }
}

impl VersionArgs {
    /// Returns the selected version of the application.
    pub(super) async fn of(&self, client: &Client, application: &str) -> Result<SelectedApplication, CliError> {
        let id = ApplicationId::from(application);
        match SelectedApplication::find(client, &id, self.application_version.as_ref()).await {
            Ok(found) => Ok(found),
            Err(error) => Err(explain(error.into(), &id, client).await),
        }
    }
}
