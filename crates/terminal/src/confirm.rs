//! Confirmation prompts for irreversible actions.

use std::io::{self, IsTerminal, Write};

use anyhow::anyhow;
use clap::Args;

use crate::failure::{Classify, Failure};
use crate::input::detached;
use crate::sanitize::sanitize;

/// The option that skips a confirmation.
#[derive(Args, Clone, Copy, Debug)]
pub struct Confirm {
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Confirm {
    /// Returns an error unless the user confirms, at the prompt or with `--yes`. `question` is a text such as
    /// "cancel 3 runs?".
    ///
    /// # Errors
    ///
    /// [`Kind::BAD_INPUT`](crate::Kind::BAD_INPUT) without a terminal, and [`Kind::FAILED`](crate::Kind::FAILED) if the
    /// user declines.
    pub async fn ask<C: Classify>(self, question: &str) -> Result<(), Failure<C>> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::bad_input(anyhow!(
                "cannot ask for confirmation without a terminal ({question}); nothing was changed; --yes confirms"
            )));
        }
        write!(io::stderr(), "{} [y/N] ", sanitize(question))?;
        match read_line().await?.trim() {
            "y" | "Y" | "yes" | "Yes" | "YES" => Ok(()),
            _ => Err(anyhow!("canceled; nothing was changed").into()),
        }
    }
}

async fn read_line() -> io::Result<String> {
    detached(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    })
    .await?
}
