use std::path::PathBuf;

use clap::Args;
use platform_pipeline::SubmissionSource;
use platform_resources::models::RunSubmission;
use serde_json::{Value, json};

use super::application_args::VersionArgs;
use super::object_keys::UploadArgs;
use super::options::RunOptionArgs;
use crate::context::Context;
use crate::detached::detached;
use crate::error::CliError;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of the application
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// Table of the slides, or a submission in JSON; `-` is stdin. Slides need not be uploaded yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    version: VersionArgs,
    #[command(flatten)]
    to: UploadArgs,
    #[command(flatten)]
    options: RunOptionArgs,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let file = arguments.file.clone();
    let source = detached(move || SubmissionSource::read(&file)).await??;
    if let SubmissionSource::Table(table) = &source {
        table.notes().iter().for_each(|note| context.output.note(note));
    }
    let client = context.client()?;
    let application = arguments.version.of(&client, &arguments.application).await?;
    let keys = arguments.to.keys(&client, &application, arguments.options.portal()).await?;
    let mut draft = source.draft(&arguments.file, &application, &keys, true)?;
    for column in draft.unused_columns() {
        context.output.note(format!("the application does not use the column '{column}'"));
    }
    arguments.options.run_options(&client.me().await?).apply(&mut draft.submission)?;
    print(&draft.check(&client).await?, context)
}

/// Prints the submission that would be sent.
pub(super) fn print(checked: &RunSubmission, context: &Context) -> Result<(), CliError> {
    context.output.one(&shape(checked), || {
        let (id, version) = (&checked.application_id, checked.version_number.as_deref().unwrap_or_default());
        format!("{} items match {id} {version}", checked.items.len())
    })
}

fn shape(checked: &RunSubmission) -> Value {
    json!({
        "valid": true,
        "application_id": checked.application_id,
        "version_number": checked.version_number,
        "item_count": checked.items.len(),
    })
}
