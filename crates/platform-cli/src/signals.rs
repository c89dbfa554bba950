//! What the user, or whoever runs the command, wants it to do: end.

use std::io::{self, Write};
use std::time::Duration;

use auth_core::{Unfinished, is_redeeming};

use crate::LAST_WORK;
use crate::exit::Failure;

/// The longest time of a redemption after a signal.
const LAST_REDEMPTION: Duration = Duration::from_secs(8);
/// The longest time of a renewal in the background after the work of the command.
const LAST_RENEWAL: Duration = Duration::from_secs(30);

/// The interval at which the end of protected work is checked.
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// The signals that end the command. They are caught as long as this is there.
pub(crate) struct Signals(Caught);

#[cfg(unix)]
type Caught = Vec<(u8, tokio::signal::unix::Signal)>;
#[cfg(not(unix))]
type Caught = tokio::signal::windows::CtrlC;

impl Signals {
    #[cfg(unix)]
    pub(crate) fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // SIGHUP, SIGINT, SIGQUIT, SIGTERM.
        let caught = [1, 2, 3, 15].map(|number: u8| Ok((number, signal(SignalKind::from_raw(number.into()))?)));
        Ok(Self(caught.into_iter().collect::<io::Result<_>>()?))
    }

    #[cfg(not(unix))]
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self(tokio::signal::windows::ctrl_c()?))
    }

    /// Waits for the next one, and gives its number.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> u8 {
        use futures_util::FutureExt;
        let each = self.0.iter_mut().map(|(number, signal)| signal.recv().map(|_| *number).boxed());
        futures_util::future::select_all(each).await.0
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> u8 {
        self.0.recv().await;
        2
    }

    /// Runs `work`, and drops it when a signal arrives.
    pub(crate) async fn end(&mut self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        self.end_after(work, || false).await
    }

    /// Runs `work`, and drops it when a signal arrives: at once, unless it `is_delicate` or redeems a credential. Then it
    /// continues for a few seconds; a second signal drops delicate work at once, but does not cut a redemption short.
    pub(crate) async fn end_after(
        &mut self,
        work: impl Future<Output = Result<(), Failure>>,
        is_delicate: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let mut work = std::pin::pin!(work);
        let number = tokio::select! {
            biased;
            number = self.next() => number,
            outcome = &mut work => return outcome,
        };
        let mut looks = tokio::time::interval(BETWEEN_LOOKS);
        let end = tokio::time::Instant::now() + LAST_REDEMPTION;
        let delicate_end = tokio::time::Instant::now() + LAST_WORK;
        let mut is_second = false;
        loop {
            let now = tokio::time::Instant::now();
            let is_held = is_delicate() && !is_second && now < delicate_end;
            if now >= end || !(is_held || is_redeeming()) {
                return Err(Failure::signal(number));
            }
            tokio::select! {
                // Its outcome is not reported: the user wants the command to end.
                _ = &mut work => return Err(Failure::signal(number)),
                _ = self.next() => is_second = true,
                _ = looks.tick() => {}
            }
        }
    }

    /// Waits for redemptions that are under way, after the work has ended with `outcome`: 30 s, or 8 s after a signal.
    /// No redemption starts any more.
    pub(crate) async fn finish_redemptions(&mut self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        let limit = match &outcome {
            Err(failure) if failure.is_signal() => LAST_REDEMPTION,
            _ => LAST_RENEWAL,
        };
        let finished = tokio::select! {
            finished = finished(limit) => finished,
            _ = self.next() => finished(LAST_REDEMPTION).await,
        };
        match finished {
            Ok(()) => outcome,
            Err(error) if error.is_unstored() && outcome.is_ok() => Err(error.into()),
            Err(error) => {
                eprint_line(&format!("warning: {}", in_full(&error)));
                outcome
            }
        }
    }
}

/// Waits for redemptions on a thread of its own, which ends with the process.
async fn finished(limit: Duration) -> Result<(), Unfinished> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let wait = move || drop(sender.send(auth_core::finish_redemptions(limit)));
    match std::thread::Builder::new().name("last renewal".to_owned()).spawn(wait) {
        Ok(_) => receiver.await.unwrap_or(Ok(())),
        Err(_) => auth_core::finish_redemptions(limit),
    }
}

fn in_full(error: &Unfinished) -> String {
    let sources = std::iter::successors(std::error::Error::source(error), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// Prints to stderr. An error is ignored: stderr may be closed.
fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr(), "{}", crate::shown::shown(text));
}
