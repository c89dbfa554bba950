use std::ffi::OsString;

use anyhow::Context as _;
use clap::Args;
use terminal::{Signals, child};
use tokio::process::Command;

use crate::context::Context;
use crate::error::CliError;

pub(crate) const HELP: &str = "\
The environment of the command contains the key of the organization, in the variables of rclone (remote `aignostics:`), s5cmd, the
AWS command line and boto3, and the name of the bucket in AIGNOSTICS_BUCKET. Nothing is written to a file.

Exit code: that of the command.";

#[derive(Args)]
pub(crate) struct Arguments {
    /// Command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command, which receives the signals itself.
pub(crate) async fn run(arguments: Arguments, context: &Context, signals: &mut Signals) -> Result<(), CliError> {
    let mut access = None;
    let fetch = async {
        access = Some(context.read_client()?.bucket_access().await?);
        Ok(())
    };
    signals.run_until_signal(fetch, &context.interruption).await?;
    let access = access.context("the key of the bucket is missing")?;
    let (program, arguments) = arguments.command.split_first().context("the command is missing")?;
    let mut command = Command::new(program);
    access.configure(command.args(arguments).as_std_mut());
    child::run(command, signals).await
}
