//! The yes of a user, without which nothing is deleted.

use std::io::{self, IsTerminal, Write};
use std::thread;

use anyhow::anyhow;
use tokio::sync::oneshot;

use crate::exit::Failure;
use crate::shown::shown;

/// Asks on the terminal whether to do what `question` says. Where there is nobody to ask, that is a failure that names the
/// flag `--yes`.
pub(crate) async fn ask(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::bad_input(anyhow!(
            "nobody can be asked: --dry-run shows what would be deleted, --yes deletes it"
        )));
    }
    write!(io::stderr(), "{} [y/N] ", shown(question))?;
    let (told, answer) = oneshot::channel();
    // A thread of its own, which nobody waits for when a signal ends the command.
    thread::spawn(move || {
        let mut line = String::new();
        // Whoever closes stdin has not said yes; nobody may be listening any more.
        let _ = told.send(io::stdin().read_line(&mut line).map(|_| line));
    });
    let answer = answer.await??;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(anyhow!("nothing was deleted").into()),
    }
}
