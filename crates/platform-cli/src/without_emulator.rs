//! The commands `demo` and `emulator` of a build without the feature `emulator`. They accept any arguments, and fail.

use std::ffi::OsString;
use std::future::{Ready, ready};

use anyhow::anyhow;
use clap::Args;

use crate::error::CliError;

#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

impl Arguments {
    pub(crate) fn has_child(&self) -> bool {
        self.arguments.iter().any(|word| word == "exec")
    }
}

pub(crate) fn run<T>(_: Arguments, _: T) -> Ready<Result<(), CliError>> {
    ready(Err(CliError::bad_input(anyhow!("this program was built without the emulator (the feature `emulator`)"))))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[tokio::test]
    async fn any_arguments_fail_with_the_reason_and_exit_code_2() {
        let command = Arguments::augment_args(clap::Command::new("emulator"));
        let matches = command.try_get_matches_from(["emulator", "--port", "7", "exec", "--", "sh"]).unwrap();
        let arguments = Arguments::from_arg_matches(&matches).unwrap();
        assert!(arguments.has_child());
        let error = run(arguments, ()).await.unwrap_err();
        assert!(error.error().unwrap().to_string().contains("built without the emulator"));
        assert_eq!(error.report(terminal::Format::Table), 2);
    }
}
