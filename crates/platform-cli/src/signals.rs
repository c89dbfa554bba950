//! What the user, or whoever runs the command, wants it to do: end.

use std::io;
use std::time::Duration;

use crate::LAST_WORK;
use crate::exit::Failure;

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

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

    /// Does `work`, and gives it up when a signal comes.
    pub(crate) async fn end(self, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        self.end_after(work, || false).await
    }

    /// The same, but not while `is_delicate`, for up to five seconds; a second signal ends it at once.
    pub(crate) async fn end_after(
        mut self,
        work: impl Future<Output = Result<(), Failure>>,
        is_delicate: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let number = tokio::select! {
            biased;
            number = self.next() => number,
            outcome = work => return outcome,
        };
        tokio::select! {
            () = calm(is_delicate) => {}
            _ = self.next() => {}
        }
        Err(Failure::signal(number))
    }
}

/// Waits for up to five seconds while `is_delicate`: the renewal of a login runs in a task that reports to no caller.
pub(crate) async fn calm(is_delicate: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(BETWEEN_LOOKS);
    let calm = async {
        while is_delicate() {
            looks.tick().await;
        }
    };
    // The process ends then in either case.
    let _ = tokio::time::timeout(LAST_WORK, calm).await;
}
