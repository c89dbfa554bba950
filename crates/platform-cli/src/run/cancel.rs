use clap::Args;
use platform_resources::{ChangeOutcome, RunOutcome};
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::json;
use crate::run::parse_run_id;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Id of the run
    #[arg(value_parser = parse_run_id)]
    run: String,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let handle = context.client()?.run(arguments.run.as_str());
    let done = handle.cancel().await?;
    let run = handle.no_cache().get().await?;
    let (outcome, was_before) = (RunOutcome::of(&run), done == ChangeOutcome::AlreadyApplied);
    let shape = json!({
        "run_id": run.run_id, "outcome": json::run_outcome(&outcome), "had_ended_before": was_before,
    });
    context.output.one(&shape, || {
        let cancelled = matches!(outcome, RunOutcome::Cancelled(_));
        match (was_before, cancelled) {
            (false, _) => format!("{}: canceled", run.run_id),
            (true, true) => format!("{}: already {outcome}", run.run_id),
            (true, false) => format!("{}: already terminated: {outcome}", run.run_id),
        }
    })
}
