use clap::Subcommand;
use platform_resources::models::{ApplicationId, ApplicationVersion, VersionNumber, VersionSummary};

use super::{document, meant};
use crate::access::Shell;
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::shapes::plain;
use crate::shown::shown;

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

pub(super) async fn run(action: Action, shell: &Shell) -> Result<(), Failure> {
    match action {
        Action::List { application } => list(&application, shell).await,
        Action::Describe { application, version } => describe(&application, version.as_ref(), shell).await,
        Action::Document(action) => document::run(action, shell).await,
    }
}

async fn list(application: &ApplicationId, shell: &Shell) -> Result<(), Failure> {
    let client = shell.client()?;
    let versions = client.applications().versions(application).await?;
    let shapes = versions.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    shell.output.several(&shapes, || {
        let mut table = shell.output.table(["version", "released"]);
        for VersionSummary { number, released_at, .. } in &versions {
            table.add_row([shown(number), shell.output.moment(*released_at)]);
        }
        output::text(&table)
    })
}

async fn describe(id: &ApplicationId, named: Option<&VersionNumber>, shell: &Shell) -> Result<(), Failure> {
    let client = shell.client()?;
    let number = meant(&client, id, named).await?;
    let version = client.applications().version(id, &number).await?;
    shell.output.one(&plain(&version)?, || text(id, &version, &shell.output))
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
        table.add_row(["in".to_owned(), shown(&artifact.name), shown(&artifact.mime_type), String::new()]);
    }
    for artifact in &version.output_artifacts {
        let scope = shown(&artifact.scope);
        table.add_row(["out".to_owned(), shown(&artifact.name), shown(&artifact.mime_type), scope]);
    }
    format!("{facts}\n\n{}", output::text(&table))
}
