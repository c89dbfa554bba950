use std::path::PathBuf;

use clap::Args;
use platform_pipeline::SubmissionSource;
use platform_resources::models::RunSubmission;
use serde_json::{Value, json};

use super::input::Version;
use super::object_keys::UploadArgs;
use super::options::Options;
use crate::access::Shell;
use crate::detached::detached;
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of the application
    #[arg(value_name = "APPLICATION")]
    application: String,
    /// Table of the slides, or a submission in JSON; `-` is stdin. Slides need not be uploaded yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    version: Version,
    #[command(flatten)]
    to: UploadArgs,
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let file = arguments.file.clone();
    let source = detached(move || SubmissionSource::read(&file)).await??;
    if let SubmissionSource::Table(table) = &source {
        table.notes().iter().for_each(|note| shell.output.note(note));
    }
    let client = shell.client()?;
    let application = arguments.version.of(&client, &arguments.application).await?;
    let keys = arguments.to.keys(&client, &application, arguments.options.portal()).await?;
    let mut draft = source.draft(&arguments.file, &application, &keys, true)?;
    for column in draft.unused_columns() {
        shell.output.note(format!("the application does not use the column '{column}'"));
    }
    arguments.options.run_options(&client.me().await?).apply(&mut draft.submission)?;
    print(&draft.check(&client).await?, shell)
}

/// Prints the submission that would be sent.
pub(super) fn print(checked: &RunSubmission, shell: &Shell) -> Result<(), Failure> {
    shell.output.one(&shape(checked), || {
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
