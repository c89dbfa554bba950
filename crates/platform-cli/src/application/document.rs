use std::path::PathBuf;

use clap::Subcommand;
use platform_download::escape;
use platform_resources::models::{ApplicationId, Document};
use platform_resources::{Client, Documents};
use serde_json::json;

use super::Release;
use crate::context::Context;
use crate::error::CliError;
use crate::json::plain;
use crate::output;
use crate::sanitize::sanitize;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the documents of a version
    List {
        #[command(flatten)]
        release: Release,
    },
    /// Describe a document
    Describe {
        #[command(flatten)]
        release: Release,
        /// Name of the document
        name: String,
    },
    /// Download a document into a folder; its file is replaced only when the download is complete
    Download {
        #[command(flatten)]
        release: Release,
        /// Name of the document
        name: String,
        /// Folder for the document; created if absent
        #[arg(long, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
}

impl Action {
    /// Returns the application that the command is about.
    pub(super) fn application(&self) -> &ApplicationId {
        match self {
            Self::List { release } | Self::Describe { release, .. } | Self::Download { release, .. } => {
                &release.application
            }
        }
    }
}

pub(super) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    let client = context.client()?;
    match action {
        Action::List { release } => list(&release, &client, context).await,
        Action::Describe { release, name } => describe(&release, &name, &client, context).await,
        Action::Download { release, name, output } => download(&release, &name, output, &client, context).await,
    }
}

async fn documents(release: &Release, client: &Client) -> Result<Documents, CliError> {
    let version = release.version(client).await?;
    Ok(client.applications().documents(&release.application, &version))
}

async fn list(release: &Release, client: &Client, context: &Context) -> Result<(), CliError> {
    let found = documents(release, client).await?.list().await?;
    let shapes = found.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    context.output.several(&shapes, || {
        let mut table = context.output.table(["document", "type", "updated"]);
        for Document { name, mime_type, updated_at, .. } in &found {
            table.add_row([sanitize(name), sanitize(mime_type), context.output.moment(*updated_at)]);
        }
        output::text(&table)
    })
}

async fn describe(release: &Release, name: &str, client: &Client, context: &Context) -> Result<(), CliError> {
    let document = documents(release, client).await?.get(name).await?;
    context.output.one(&plain(&document)?, || {
        context.output.facts([
            ("document", document.name.clone()),
            ("id", document.id.to_string()),
            ("type", document.mime_type.clone()),
            ("visibility", document.visibility.to_string()),
            ("created", context.output.moment(document.created_at)),
            ("updated", context.output.moment(document.updated_at)),
        ])
    })
}

async fn download(
    release: &Release,
    name: &str,
    folder: PathBuf,
    client: &Client,
    context: &Context,
) -> Result<(), CliError> {
    let path = folder.join(escape(name));
    // A missing document is reported as such, not as a failed download.
    let documents = documents(release, client).await?;
    documents.get(name).await?;
    let outcome = documents.download(name, &path).await?;
    let value = json!({
        "name": name,
        "file": path.display().to_string(),
        "bytes": outcome.bytes,
        "crc32c": outcome.crc32c,
        "sha256": outcome.sha256,
        "verification": outcome.verification,
        "already_present": outcome.already_present,
    });
    context.output.one(&value, || {
        let what = if outcome.already_present { "already present" } else { "downloaded" };
        let sha256 = outcome.sha256.map(|sha256| format!(", SHA-256 {sha256}")).unwrap_or_default();
        format!("{}: {what}, {} bytes{sha256}", sanitize(path.display()), outcome.bytes)
    })
}
