//! Confirmation prompts for irreversible actions.

use std::io::{self, IsTerminal, Write};

use anyhow::anyhow;
use clap::Args;

use crate::detached::detached;
use crate::error::CliError;
use crate::sanitize::sanitize;

#[derive(Args, Clone, Copy)]
pub(crate) struct Confirm {
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Returns an error unless the user confirms, at the prompt or with `--yes`. `what` is a question such as "cancel 3
    /// runs?".
    pub(crate) async fn ask(self, what: &str) -> Result<(), CliError> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let nobody =
                anyhow!("cannot ask for confirmation without a terminal ({what}); nothing was changed; --yes confirms");
            return Err(CliError::bad_input(nobody));
        }
        write!(io::stderr(), "{} [y/N] ", sanitize(what))?;
        match answer().await?.trim() {
            "y" | "Y" | "yes" | "Yes" | "YES" => Ok(()),
            _ => Err(anyhow!("canceled; nothing was changed").into()),
        }
    }
}

/// Reads a line from stdin.
async fn answer() -> io::Result<String> {
    detached(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    })
    .await?
}
