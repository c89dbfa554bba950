use clap::Subcommand;
use platform_resources::models::{ApplicationId, ApplicationVersion, VersionNumber, VersionSummary};

use super::{document, resolve_version};
use crate::context::Context;
use crate::error::CliError;
use crate::json::plain;
use crate::output::{self, Output};
use crate::sanitize::sanitize;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the available versions of an application, highest first
    List {
        /// Id of the application, such as he-tme
        application: ApplicationId,
    },
    /// Describe the inputs, outputs and changes of a version
    Describe {
        /// Id of the application, such as he-tme
        application: ApplicationId,
        /// Version of the application [default: the highest available]
        version: Option<VersionNumber>,
    },
    /// List, describe and download the documents of a version
    #[command(subcommand)]
    Document(document::Action),
}

impl Action {
    /// Returns the application that the command is about.
    pub(super) fn application(&self) -> &ApplicationId {
        match self {
            Self::List { application } | Self::Describe { application, .. } => application,
            Self::Document(action) => action.application(),
        }
    }
}

pub(super) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::List { application } => list(&application, context).await,
        Action::Describe { application, version } => describe(&application, version.as_ref(), context).await,
        Action::Document(action) => document::run(action, context).await,
    }
}

async fn list(application: &ApplicationId, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let versions = client.applications().versions(application).await?;
    let shapes = versions.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    context.output.several(&shapes, || {
        let mut table = context.output.table(["version", "released"]);
        for VersionSummary { number, released_at, .. } in &versions {
            table.add_row([sanitize(number), context.output.moment(*released_at)]);
        }
        output::text(&table)
    })
}

async fn describe(id: &ApplicationId, named: Option<&VersionNumber>, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    let number = resolve_version(&client, id, named).await?;
    let version = client.applications().version(id, &number).await?;
    context.output.one(&plain(&version)?, || text(id, &version, &context.output))
}

fn text(id: &ApplicationId, version: &ApplicationVersion, output: &Output) -> String {
    let facts = output.facts([
        ("application", id.to_string()),
        ("version", version.version_number.to_string()),
        ("released", output.moment(version.released_at)),
        ("changes", version.changelog.trim().to_owned()),
    ]);
    let mut table = output.table(["", "artifact", "type", "scope"]);
    for artifact in &version.input_artifacts {
        table.add_row(["in".to_owned(), sanitize(&artifact.name), sanitize(&artifact.mime_type), String::new()]);
    }
    for artifact in &version.output_artifacts {
        let scope = sanitize(&artifact.scope);
        table.add_row(["out".to_owned(), sanitize(&artifact.name), sanitize(&artifact.mime_type), scope]);
    }
    format!("{facts}\n\n{}", output::text(&table))
}
