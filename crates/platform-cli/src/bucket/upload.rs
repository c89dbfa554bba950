use std::path::PathBuf;

use auth_core::error_chain;
use clap::Args;
use platform_pipeline::key_prefix;
use platform_resources::{Bucket, Upload, UploadFolder, UploadReport, Uploader};
use terminal::Column;

use super::report_failures;
use crate::context::Context;
use crate::error::CliError;
use crate::progress::upload_bar;
use crate::transfers::UploadTransferArgs;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files, and folders with all files in them; links are not followed
    #[arg(value_name = "PATH", required = true)]
    source: Vec<PathBuf>,
    /// Prefix of all keys; {username} and {timestamp} are replaced
    #[arg(long, value_name = "PREFIX", default_value = "{username}")]
    destination_prefix: String,
    #[command(flatten)]
    pub(super) transfer: UploadTransferArgs,
}

pub(super) async fn run(arguments: Arguments, bucket: Bucket, context: &Context) -> Result<(), CliError> {
    let prefix = key_prefix(&arguments.destination_prefix)?;
    let sources = UploadFolder::find(&arguments.source, &prefix).map_err(CliError::bad_input)?;
    let bar = upload_bar(&context.output, sources.bytes);
    let observer_bar = bar.clone();
    let uploader =
        Uploader::new(bucket.clone()).with_observer(move |event| observer_bar.set_position(event.total_done));
    let uploads = uploader.upload(sources.files).await;
    bar.finish();
    print(&uploads, &UploadReport::new(&uploads, &[], &bucket), context)
}

pub(super) fn print(uploads: &[Upload], report: &UploadReport, context: &Context) -> Result<(), CliError> {
    let errors: Vec<_> = uploads.iter().filter_map(|upload| Some(error_chain(upload.result.as_ref().err()?))).collect();
    let outcome = |upload: &Upload| match &upload.result {
        Ok(uploaded) if uploaded.already_present => "already present".to_owned(),
        Ok(_) => "uploaded".to_owned(),
        Err(_) => "FAILED".to_owned(),
    };
    let size = |upload: &Upload| {
        upload.result.as_ref().map(|uploaded| context.output.size(uploaded.bytes)).unwrap_or_default()
    };
    let columns: [Column<'_, Upload>; 3] =
        [("outcome", &outcome), ("size", &size), ("key", &|upload| upload.file.key().to_owned())];
    context.output.print_object(report, || context.output.table(uploads, &columns))?;
    report_failures(&errors, uploads.len(), "files were not uploaded", context)
}
