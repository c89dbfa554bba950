use std::path::PathBuf;

use clap::Args;
use platform_pipeline::{SlideTable, SlideUpload, UploadSummary, upload};
use platform_resources::Uploaded;
use serde_json::{Value, json};

use super::application_args::{HealthCheckArgs, VersionArgs};
use super::events::observer;
use super::object_keys::UploadArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{self, Output};
use crate::sanitize::sanitize;
use crate::transfers::{TransferArgs, Transfers, UploadTimeoutArgs};

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
    to: UploadArgs,
    /// For runs that are shown in the Aignostics Portal
    #[arg(long, overrides_with = "no_onboard_to_aignostics_portal")]
    onboard_to_aignostics_portal: bool,
    /// For other runs (default)
    #[arg(long, overrides_with = "onboard_to_aignostics_portal", hide = true)]
    no_onboard_to_aignostics_portal: bool,
    #[command(flatten)]
    force: HealthCheckArgs,
    #[command(flatten)]
    transfer: TransferArgs,
    #[command(flatten)]
    timeout: UploadTimeoutArgs,
}

impl Arguments {
    pub(super) fn transfers(&self) -> Transfers {
        Transfers::from(self.transfer).with_timeout(self.timeout)
    }
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let table = SlideTable::read(&arguments.csv)?;
    table.notes().iter().for_each(|note| context.output.note(note));
    let client = context.client()?;
    arguments.force.check(&client, context).await?;
    let application = arguments.version.of(&client, &arguments.application).await?;
    let keys = arguments.to.keys(&client, &application, arguments.onboard_to_aignostics_portal).await?;
    let files = Box::pin(upload(&arguments.csv, &table, &keys, &observer(&context.output))).await?;
    let shapes: Vec<_> = files.iter().map(shape).collect();
    let whole = json!({ "csv": arguments.csv.display().to_string(), "files": shapes });
    context.output.one(&whole, || text(&files, &context.output))?;
    UploadSummary::of(&files)?;
    Ok(())
}

fn shape(file: &SlideUpload) -> Value {
    let uploaded = file.result.as_ref();
    json!({
        "external_id": file.external_id,
        "platform_bucket_url": uploaded.ok().map(|_| &file.url),
        "bytes": uploaded.ok().map(|uploaded| uploaded.bytes),
        "crc32c": uploaded.ok().map(|uploaded| uploaded.crc32c),
        "already_present": uploaded.ok().map(|uploaded| uploaded.already_present),
        "error": uploaded.err(),
    })
}

fn text(files: &[SlideUpload], output: &Output) -> String {
    let mut table = output.table(["slide", "state", "size", "address"]);
    for file in files {
        let (state, bytes, url) = match &file.result {
            Ok(Uploaded { already_present: true, bytes, .. }) => {
                ("already present", output.size(*bytes), file.url.as_str())
            }
            Ok(uploaded) => ("uploaded", output.size(uploaded.bytes), file.url.as_str()),
            Err(_) => ("FAILED", String::new(), ""),
        };
        table.add_row([sanitize(&file.external_id), state.to_owned(), bytes, sanitize(url)]);
    }
    output::text(&table)
}
