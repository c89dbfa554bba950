//! `aignostics application`: the applications of the platform.

mod document;
mod schemata;
mod version;

use clap::{Args, Subcommand};
use platform_resources::models::{Application, ApplicationId, ApplicationSummary, VersionNumber, VersionSummary};
use platform_resources::{Client, Error};
use terminal::{Column, Output};

use crate::context::Context;
use crate::error::CliError;
use crate::unknown_application::explain;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the available applications; --verbose adds their descriptions
    List(PythonCompatArgs),
    /// Describe an application and list its versions
    Describe {
        /// Id of the application, such as he-tme
        application: ApplicationId,
        #[command(flatten)]
        _compat: PythonCompatArgs,
    },
    /// Write the JSON Schemas of an application's inputs and outputs to files
    DumpSchemata(schemata::Arguments),
    /// List and describe versions of an application
    #[command(subcommand)]
    Version(version::Action),
    /// Submit, follow, share and download runs (same as `aignostics run`)
    #[command(subcommand)]
    Run(Box<crate::run::Action>),
}

/// Options of the Python tool that have no effect here.
#[derive(Args)]
pub(crate) struct PythonCompatArgs {
    #[arg(long = "no-verbose", hide = true)]
    _no_verbose: bool,
}

/// The arguments that select a version of an application.
#[derive(Args)]
pub(crate) struct ApplicationVersionArgs {
    /// Id of the application, such as he-tme
    application: ApplicationId,
    /// Version of the application [default: the highest available]
    #[arg(long, value_name = "VERSION")]
    application_version: Option<VersionNumber>,
}

impl ApplicationVersionArgs {
    /// Returns the requested version, or the highest available.
    async fn version(&self, client: &Client) -> Result<VersionNumber, CliError> {
        Ok(resolve_version(client, &self.application, self.application_version.as_ref()).await?)
    }
}

/// Returns `requested`, or else the highest available version of the application.
pub(crate) async fn resolve_version(
    client: &Client,
    application: &ApplicationId,
    requested: Option<&VersionNumber>,
) -> Result<VersionNumber, Error> {
    match requested {
        Some(version) => Ok(version.clone()),
        None => client.applications().latest_version(application).await,
    }
}

impl Action {
    fn application(&self) -> Option<&ApplicationId> {
        match self {
            Self::List(_) | Self::Run(_) => None,
            Self::Describe { application, .. } => Some(application),
            Self::DumpSchemata(arguments) => Some(arguments.application()),
            Self::Version(action) => Some(action.application()),
        }
    }
}

pub(crate) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    let application = action.application().cloned();
    match (dispatch(action, context).await, application) {
        (Err(failure), Some(application)) => Err(explain(failure, &application, &context.read_client()?).await),
        (outcome, _) => outcome,
    }
}

async fn dispatch(action: Action, context: &Context) -> Result<(), CliError> {
    match action {
        Action::List(_) => list(context).await,
        Action::Describe { application, .. } => describe(&application, context).await,
        Action::DumpSchemata(arguments) => schemata::run(arguments, context).await,
        Action::Version(action) => version::run(action, context).await,
        Action::Run(action) => Box::pin(crate::run::run(*action, context)).await,
    }
}

async fn list(context: &Context) -> Result<(), CliError> {
    let applications = context.read_client()?.applications().list();
    let latest = |application: &ApplicationSummary| {
        application.latest_version.as_ref().map(|version| version.number.to_string()).unwrap_or_default()
    };
    let columns: [Column<'_, ApplicationSummary>; 5] = [
        ("application", &|application| application.application_id.to_string()),
        ("latest", &latest),
        ("classes", &|application| application.regulatory_classes.join(", ")),
        ("name", &|application| application.name.clone()),
        ("description", &|application| application.description.clone()),
    ];
    let count = if context.output.is_verbose() { columns.len() } else { columns.len() - 1 };
    context.output.print_stream(applications, |application| application, &columns[..count]).await
}

async fn describe(id: &ApplicationId, context: &Context) -> Result<(), CliError> {
    let client = context.read_client()?;
    let application = client.applications().get(id).await?;
    Ok(context.output.print_object(&application, || application_text(&application, &context.output))?)
}

fn application_text(application: &Application, output: &Output) -> String {
    let fields = output.fields([
        ("application", application.application_id.to_string()),
        ("name", application.name.clone()),
        ("classes", application.regulatory_classes.join(", ")),
        ("description", application.description.trim().to_owned()),
    ]);
    if application.versions.is_empty() {
        fields
    } else {
        format!("{fields}\n\n{}", versions_table(&application.versions, output))
    }
}

fn versions_table(versions: &[VersionSummary], output: &Output) -> String {
    let columns: [Column<'_, VersionSummary>; 2] =
        [("version", &|version| version.number.to_string()), ("released", &|version| output.time(version.released_at))];
    output.table(versions, &columns)
}
