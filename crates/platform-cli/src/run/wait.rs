use anyhow::anyhow;
use clap::Args;
use platform_resources::RunOutcome;
use platform_resources::models::Run;

use super::{Reading, describe};
use crate::access::Shell;
use crate::exit::Failure;
use crate::shapes;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reading: Reading,
}

pub(crate) async fn run(arguments: Arguments, shell: &Shell) -> Result<(), Failure> {
    let run = arguments.reading.handle(&shell.client()?).await?;
    shell.follow(run.id(), &[]);
    let run = run.wait(None).await?;
    shell.output.one(&shapes::run(&run)?, || describe::facts(&run, None, &shell.output))?;
    judge(&run)
}

/// Returns an error unless all items succeeded.
pub(super) fn judge(run: &Run) -> Result<(), Failure> {
    match RunOutcome::of(run) {
        RunOutcome::Completed => Ok(()),
        outcome => Err(Failure::incomplete(anyhow!("the run did not complete: {outcome}"))),
    }
}
