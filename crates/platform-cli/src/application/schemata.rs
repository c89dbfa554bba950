use std::path::PathBuf;

use clap::Args;
use platform_pipeline::SchemaFiles;
use platform_resources::models::ApplicationId;
use serde_json::json;
use terminal::sanitize;

use super::ApplicationVersionArgs;
use crate::context::Context;
use crate::error::CliError;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: ApplicationVersionArgs,
    /// Folder for the files; created if absent
    #[arg(long, value_name = "DIR", default_value = ".")]
    destination: PathBuf,
    /// Write one zip archive instead of single files
    #[arg(long, overrides_with = "_no_zip")]
    zip: bool,
    #[arg(long = "no-zip", overrides_with = "zip", hide = true)]
    _no_zip: bool,
}

impl Arguments {
    pub(super) fn application(&self) -> &ApplicationId {
        &self.selection.application
    }
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let Arguments { selection, destination, zip, _no_zip } = arguments;
    let client = context.read_client()?;
    let number = selection.version(&client).await?;
    let applications = client.applications();
    let application = applications.get(&selection.application).await?;
    let version = applications.version(&selection.application, &number).await?;
    let schemata = SchemaFiles::new(&application, &version);
    let files = if zip { vec![schemata.write_archive(&destination)?] } else { schemata.write(&destination)? };
    let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    let value = json!({
        "application_id": application.application_id,
        "version_number": version.version_number,
        "files": names,
    });
    Ok(context.output.print_object(&value, || names.iter().map(sanitize).collect::<Vec<_>>().join("\n"))?)
}
