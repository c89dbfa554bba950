use anyhow::anyhow;
use clap::Args;
use platform_resources::RunOutcome;
use platform_resources::models::Run;

use super::{RunArgs, describe};
use crate::context::Context;
use crate::error::CliError;
use crate::json;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reading: RunArgs,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), CliError> {
    let run = arguments.reading.handle(&context.client()?).await?;
    context.follow(run.id(), &[]);
    let run = run.wait(None).await?;
    context.output.one(&json::run(&run)?, || describe::facts(&run, None, &context.output))?;
    check_outcome(&run)
}

/// Returns an error unless all items succeeded.
pub(super) fn check_outcome(run: &Run) -> Result<(), CliError> {
    match RunOutcome::of(run) {
        RunOutcome::Completed => Ok(()),
        outcome => Err(CliError::incomplete(anyhow!("the run did not complete: {outcome}"))),
    }
}
