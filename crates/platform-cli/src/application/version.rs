use clap::Subcommand;
use platform_resources::models::{ApplicationId, ApplicationVersion, VersionNumber};
use terminal::Output;

use super::{document, resolve_version, versions_table};
use crate::context::Context;
use crate::error::CliError;

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
    let client = context.read_client()?;
    let versions = client.applications().versions(application).await?;
    Ok(context.output.print_array(&versions, || versions_table(&versions, &context.output))?)
}

async fn describe(id: &ApplicationId, requested: Option<&VersionNumber>, context: &Context) -> Result<(), CliError> {
    let client = context.read_client()?;
    let version_number = resolve_version(&client, id, requested).await?;
    let version = client.applications().version(id, &version_number).await?;
    Ok(context.output.print_object(&version, || version_text(id, &version, &context.output))?)
}

fn version_text(id: &ApplicationId, version: &ApplicationVersion, output: &Output) -> String {
    let fields = output.fields([
        ("application", id.to_string()),
        ("version", version.version_number.to_string()),
        ("released", output.time(version.released_at)),
        ("changes", version.changelog.trim().to_owned()),
    ]);
    let inputs =
        version.input_artifacts.iter().map(|artifact| ("in", &artifact.name, &artifact.mime_type, String::new()));
    let outputs = version.output_artifacts.iter();
    let outputs = outputs.map(|artifact| ("out", &artifact.name, &artifact.mime_type, artifact.scope.to_string()));
    let artifacts: Vec<_> = inputs.chain(outputs).collect();
    let table = output.table(
        &artifacts,
        &[
            ("", &|(direction, ..)| (*direction).to_owned()),
            ("artifact", &|(_, name, ..)| (*name).clone()),
            ("type", &|(_, _, mime_type, _)| (*mime_type).clone()),
            ("scope", &|(.., scope)| scope.clone()),
        ],
    );
    format!("{fields}\n\n{table}")
}
