use clap::Args;
use serde_json::json;

use crate::access::Shell;
use crate::confirm::Consent;
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The id of the run.
    run: String,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let Arguments { run, consent } = arguments;
    let handle = shell.client()?.run(run.as_str());
    consent.ask(&format!("delete the results of run {run} for good?")).await?;
    match handle.delete_results().await {
        Ok(()) => shell.output.one(&json!({ "run_id": run, "results": "deleted" }), || {
            format!("{}: its results are deleted", crate::shown::shown(&run))
        }),
        Err(error) if error.api().is_some_and(platform_resources::ApiError::is_already_done) => {
            Err(Failure::from(error).context("the run goes on: its results can be deleted when it has ended"))
        }
        Err(error) => Err(error.into()),
    }
}
