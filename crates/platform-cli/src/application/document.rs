use std::path::PathBuf;

use clap::Subcommand;
use platform_download::escape;
use platform_resources::models::{ApplicationId, Document};
use platform_resources::{Client, Documents};
use serde_json::json;
use terminal::{Column, sanitize};

use super::ApplicationVersionArgs;
use crate::context::Context;
use crate::error::CliError;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// List the documents of a version
    List {
        #[command(flatten)]
        selection: ApplicationVersionArgs,
    },
    /// Describe a document
    Describe {
        #[command(flatten)]
        selection: ApplicationVersionArgs,
        /// Name of the document
        name: String,
    },
    /// Download a document into a folder; its file is replaced only when the download is complete
    Download {
        #[command(flatten)]
        selection: ApplicationVersionArgs,
        /// Name of the document
        name: String,
        /// Folder for the document; created if absent
        #[arg(long, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
}

impl Action {
    pub(super) fn application(&self) -> &ApplicationId {
        match self {
            Self::List { selection } | Self::Describe { selection, .. } | Self::Download { selection, .. } => {
                &selection.application
            }
        }
    }
}

pub(super) async fn run(action: Action, context: &Context) -> Result<(), CliError> {
    let client = context.read_client()?;
    match action {
        Action::List { selection } => list(&selection, &client, context).await,
        Action::Describe { selection, name } => describe(&selection, &name, &client, context).await,
        Action::Download { selection, name, output } => download(&selection, &name, output, &client, context).await,
    }
}

async fn documents(selection: &ApplicationVersionArgs, client: &Client) -> Result<Documents, CliError> {
    let version = selection.version(client).await?;
    Ok(client.applications().documents(&selection.application, &version))
}

async fn list(selection: &ApplicationVersionArgs, client: &Client, context: &Context) -> Result<(), CliError> {
    let documents = documents(selection, client).await?.list().await?;
    let columns: [Column<'_, Document>; 3] = [
        ("document", &|document| document.name.clone()),
        ("type", &|document| document.mime_type.clone()),
        ("updated", &|document| context.output.time(document.updated_at)),
    ];
    Ok(context.output.print_array(&documents, || context.output.table(&documents, &columns))?)
}

async fn describe(
    selection: &ApplicationVersionArgs,
    name: &str,
    client: &Client,
    context: &Context,
) -> Result<(), CliError> {
    let document = documents(selection, client).await?.get(name).await?;
    let text = || {
        context.output.fields([
            ("document", document.name.clone()),
            ("id", document.id.to_string()),
            ("type", document.mime_type.clone()),
            ("visibility", document.visibility.to_string()),
            ("created", context.output.time(document.created_at)),
            ("updated", context.output.time(document.updated_at)),
        ])
    };
    Ok(context.output.print_object(&document, text)?)
}

async fn download(
    selection: &ApplicationVersionArgs,
    name: &str,
    folder: PathBuf,
    client: &Client,
    context: &Context,
) -> Result<(), CliError> {
    let path = folder.join(escape(name));
    // This request reports a missing document as such, not as a failed download.
    let documents = documents(selection, client).await?;
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
    let text = || {
        let status = if outcome.already_present { "already present" } else { "downloaded" };
        let sha256 = outcome.sha256.map(|sha256| format!(", SHA-256 {sha256}")).unwrap_or_default();
        format!("{}: {status}, {} bytes{sha256}", sanitize(path.display()), outcome.bytes)
    };
    Ok(context.output.print_object(&value, text)?)
}
