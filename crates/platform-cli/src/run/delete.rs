use clap::Args;
use platform_resources::ChangeOutcome;
use serde_json::json;

use crate::access::Shell;
use crate::confirm::Consent;
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of the run
    run: String,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let Arguments { run, consent } = arguments;
    let handle = shell.client()?.run(run.as_str());
    consent.ask(&format!("permanently delete the results of run {run}?")).await?;
    let done = match handle.delete_results().await {
        Ok(done) => done,
        Err(error) if error.is_not_terminated() => {
            return Err(Failure::from(error).context("the run is not terminated: its results cannot be deleted yet"));
        }
        Err(error) => return Err(error.into()),
    };
    shell.output.one(&json!({ "run_id": run, "results": "deleted", "changed": done == ChangeOutcome::Applied }), || {
        let before = if done == ChangeOutcome::Applied { "" } else { " already" };
        format!("{}: results{before} deleted", crate::shown::shown(&run))
    })
}
