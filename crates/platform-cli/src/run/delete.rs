use clap::Args;
use platform_resources::ChangeOutcome;
use serde_json::json;

use crate::confirm::Confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::run::parse_run_id;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
    #[command(flatten)]
    confirm: Confirm,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let Arguments { run, confirm } = arguments;
    let handle = context.client()?.run(run.as_str());
    confirm.ask(&format!("permanently delete the results of run {run}?")).await?;
    let done = match handle.delete_results().await {
        Ok(done) => done,
        Err(error) if error.is_not_terminated() => {
            return Err(CliError::from(error).context("the run is not terminated: its results cannot be deleted yet"));
        }
        Err(error) => return Err(error.into()),
    };
    context.output.one(
        &json!({ "run_id": run, "results": "deleted", "changed": done == ChangeOutcome::Applied }),
        || {
            let before = if done == ChangeOutcome::Applied { "" } else { " already" };
            format!("{}: results{before} deleted", crate::sanitize::sanitize(&run))
        },
    )
}
