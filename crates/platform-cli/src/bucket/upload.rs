mod files;

use std::path::PathBuf;

use anyhow::{anyhow, ensure};
use auth_core::{Clock, SystemClock};
use clap::Args;
use jiff::Timestamp;
use platform_resources::{Bucket, Upload, Uploader};
use serde_json::{Value, json};

use crate::context::{Context, bucket_user};
use crate::error::CliError;
use crate::output;
use crate::progress::ProgressBars;
use crate::sanitize::sanitize;
use crate::transfers::{TransferArgs, Transfers, UploadTimeoutArgs};
use auth_core::error_chain;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Files, and folders with all files in them; links are not followed
    #[arg(value_name = "PATH", required = true)]
    source: Vec<PathBuf>,
    /// Prefix of all keys; {username} and {timestamp} are replaced
    #[arg(long, value_name = "PREFIX", default_value = "{username}")]
    destination_prefix: String,
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

pub(super) async fn run(arguments: Arguments, bucket: Bucket, context: &Context) -> Result<(), CliError> {
    let prefix = prefix(&arguments.destination_prefix).map_err(CliError::bad_input)?;
    let found = files::find(&arguments.source, &prefix).map_err(CliError::bad_input)?;
    let bar = ProgressBars::new(&context.output).upload(found.bytes);
    let observed = bar.clone();
    let uploader = Uploader::new(bucket.clone()).with_observer(move |event| observed.set_position(event.total_done));
    let uploads = uploader.upload(found.files).await;
    bar.finish();
    print(&uploads, &bucket, context)
}

/// Returns the prefix of all keys.
fn prefix(text: &str) -> anyhow::Result<String> {
    let now = Timestamp::try_from(SystemClock.now())?;
    let mut prefix = text.replace("{timestamp}", &now.strftime("%Y%m%d_%H%M%S").to_string());
    if prefix.contains("{username}") {
        prefix = prefix.replace("{username}", &bucket_user());
    }
    let prefix = prefix.trim_matches('/');
    let is_plain = prefix.is_empty() || prefix.split('/').all(|part| !matches!(part, "" | "." | ".."));
    ensure!(is_plain, "--destination-prefix cannot have a part that is empty, `.` or `..`");
    Ok(prefix.to_owned())
}

fn print(uploads: &[Upload], bucket: &Bucket, context: &Context) -> Result<(), CliError> {
    let errors: Vec<_> = uploads.iter().filter_map(|upload| Some(error_chain(upload.result.as_ref().err()?))).collect();
    let value = json!({
        "bucket": bucket.name(),
        "complete": errors.is_empty(),
        "files": uploads.iter().map(|upload| shape(upload, bucket)).collect::<Vec<_>>(),
    });
    context.output.one(&value, || {
        let mut table = context.output.table(["outcome", "size", "key"]);
        for Upload { file, result, .. } in uploads {
            let (outcome, bytes) = match result {
                Ok(uploaded) if uploaded.already_present => ("already present", context.output.size(uploaded.bytes)),
                Ok(uploaded) => ("uploaded", context.output.size(uploaded.bytes)),
                Err(_) => ("FAILED", String::new()),
            };
            table.add_row([outcome.to_owned(), bytes, sanitize(file.key())]);
        }
        output::text(&table)
    })?;
    for error in &errors {
        context.output.print_failure(error);
    }
    match errors.len() {
        0 => Ok(()),
        failed => Err(CliError::incomplete(anyhow!("{failed} of {} files were not uploaded", uploads.len()))),
    }
}

fn shape(upload: &Upload, bucket: &Bucket) -> Value {
    let Upload { file, result, .. } = upload;
    let uploaded = result.as_ref().ok();
    json!({
        "path": file.path().display().to_string(),
        "key": file.key(),
        "address": format!("{}{}", bucket.root(), file.key()),
        "bytes": uploaded.map(|uploaded| uploaded.bytes),
        "crc32c": uploaded.map(|uploaded| uploaded.crc32c),
        "already_present": uploaded.map(|uploaded| uploaded.already_present),
        "error": result.as_ref().err().map(|error| error_chain(error)),
    })
}
