use std::path::PathBuf;

use clap::Args;
use platform_pipeline::{SlideTable, SlideUpload, UploadSummary, upload};
use serde_json::json;
use terminal::{Column, Output};

use super::events::observer;
use super::options::{HealthCheckArgs, UploadArgs, VersionArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::transfers;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of the application
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// Table of the slides; the object key of each slide is written into it
    #[arg(value_name = "CSV")]
    csv: PathBuf,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    upload: UploadArgs,
    /// For runs that are shown in the Aignostics Portal
    #[arg(long, overrides_with = "no_onboard_to_aignostics_portal")]
    onboard_to_aignostics_portal: bool,
    /// For other runs (default)
    #[arg(long, overrides_with = "onboard_to_aignostics_portal", hide = true)]
    no_onboard_to_aignostics_portal: bool,
    #[command(flatten)]
    health_check: HealthCheckArgs,
    #[command(flatten)]
    transfer: transfers::UploadTransferArgs,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let table = SlideTable::read(&arguments.csv)?;
    table.notes().iter().for_each(|note| context.output.note(note));
    let client = context.transfer_client(arguments.transfer)?;
    arguments.health_check.check(&client, context).await?;
    let application = arguments.version.resolve(&client, &arguments.application).await?;
    let keys = arguments.upload.object_keys(&client, &application, arguments.onboard_to_aignostics_portal).await?;
    let files = Box::pin(upload(&arguments.csv, &table, &keys, &observer(&context.output))).await?;
    let value = json!({ "csv": arguments.csv.display().to_string(), "files": files });
    context.output.print_object(&value, || uploads_table(&files, &context.output))?;
    UploadSummary::of(&files)?;
    Ok(())
}

fn uploads_table(files: &[SlideUpload], output: &Output) -> String {
    let state = |file: &SlideUpload| match &file.result {
        Ok(uploaded) if uploaded.already_present => "already present".to_owned(),
        Ok(_) => "uploaded".to_owned(),
        Err(_) => "FAILED".to_owned(),
    };
    let uploaded = |file: &SlideUpload| file.result.as_ref().ok().map(|uploaded| uploaded.bytes);
    let columns: [Column<'_, SlideUpload>; 4] = [
        ("slide", &|file| file.external_id.clone()),
        ("state", &state),
        ("size", &|file| uploaded(file).map(|bytes| output.size(bytes)).unwrap_or_default()),
        ("address", &|file| uploaded(file).map(|_| file.url.clone()).unwrap_or_default()),
    ];
    output.table(files, &columns)
}
