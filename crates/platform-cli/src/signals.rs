//! Signals that end the command, and the work that they must not interrupt.

mod ignored;
mod watchdog;

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use auth_core::{Unfinished, is_redeeming};
use platform_resources::CriticalSections;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::error::CliError;
pub(crate) use ignored::Ignored;
use watchdog::Stage;

/// The maximum time from a signal to the end of the process, except for the report of a critical section ([`REPORT_LIMIT`]).
/// Slurm and Kubernetes wait 30 s before they kill.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// The maximum time of a critical section after a signal or a timeout.
pub(crate) const SECTION_LIMIT: Duration = SHUTDOWN_LIMIT;
/// The time for the report of a critical section, after [`SHUTDOWN_LIMIT`] or a second signal. It takes milliseconds unless the
/// machine is busy. Slurm and Kubernetes kill after 30 s.
const REPORT_LIMIT: Duration = Duration::from_secs(15);
/// The maximum time of a redemption after a signal.
pub(crate) const REDEMPTION_LIMIT: Duration = Duration::from_secs(8);
/// The maximum time of a background refresh after the work of the command.
const RENEWAL_LIMIT: Duration = Duration::from_secs(30);
/// The maximum cleanup time of dropped work, without a signal.
const CLEANUP_LIMIT: Duration = Duration::from_secs(5);
/// The interval at which the end of protected work is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The signals that end the command.
pub(crate) struct Signals {
    received: UnboundedReceiver<u8>,
    stage: Stage,
    /// The time of the first signal.
    first: Option<Instant>,
}

impl Signals {
    /// Catches the signals that are not `ignored`, until the process ends. With `ends`, the process ends 10 s after the
    /// first signal, and at a second one.
    pub(crate) fn catch(ignored: Ignored, ends: bool) -> io::Result<Self> {
        let (sender, received) = tokio::sync::mpsc::unbounded_channel();
        let stage = Stage::default();
        watchdog::start(ignored, ends, stage.clone(), sender)?;
        Ok(Self { received, stage, first: None })
    }

    /// Waits for the next signal, and returns its number.
    pub(crate) async fn next(&mut self) -> u8 {
        match self.received.recv().await {
            Some(number) => {
                self.first.get_or_insert_with(Instant::now);
                number
            }
            None => std::future::pending().await,
        }
    }

    /// Runs `work`, and drops it when a signal arrives.
    pub(crate) async fn end(&mut self, work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
        self.end_after(work, &CriticalSections::default()).await
    }

    /// Runs `work`, and drops it when a signal arrives, except while one of its `sections` is open or it redeems a
    /// credential. It then continues for a few seconds; a second signal drops it at once, except during a redemption.
    pub(crate) async fn end_after(
        &mut self,
        work: impl Future<Output = Result<(), CliError>>,
        sections: &CriticalSections,
    ) -> Result<(), CliError> {
        let mut work = std::pin::pin!(work);
        let number = tokio::select! {
            biased;
            number = self.next() => number,
            outcome = &mut work => return outcome,
        };
        sections.close();
        let begin = self.first.unwrap_or_else(Instant::now);
        let is_second = Cell::new(false);
        let was_open = sections.is_open();
        if was_open {
            self.stage.keep_report();
        }
        let is_held = || {
            let passed = begin.elapsed();
            (sections.is_open() && !is_second.get() && passed < SECTION_LIMIT)
                || (is_redeeming() && passed < REDEMPTION_LIMIT)
        };
        let mut held = std::pin::pin!(hold(work, is_held));
        let outcome = loop {
            tokio::select! {
                outcome = &mut held => break outcome,
                _ = self.next() => is_second.set(true),
            }
        };
        match outcome {
            // The error of the section is reported; the outcome of other work no longer matters.
            Some(Err(failure)) if was_open => Err(failure),
            _ => Err(CliError::signal(number)),
        }
    }

    /// Waits for redemptions in progress after the work has ended with `outcome`: 30 s, or up to 8 s after a signal. No
    /// new redemption starts.
    pub(crate) async fn finish_redemptions(&mut self, outcome: Result<(), CliError>) -> Result<(), CliError> {
        self.stage.redeem();
        let limit = self.left(REDEMPTION_LIMIT).unwrap_or(RENEWAL_LIMIT);
        let finished = tokio::select! {
            finished = finished(limit) => finished,
            _ = self.next() => finished(self.left(REDEMPTION_LIMIT).unwrap_or_default()).await,
        };
        self.stage.redeemed();
        match finished {
            Ok(()) => outcome,
            Err(error) if error.is_unstored() && outcome.is_ok() => Err(error.into()),
            Err(error) => {
                eprint_line(&format!("warning: {}", auth_core::error_chain(&error)));
                outcome
            }
        }
    }

    /// Lets dropped work clean up after the outcome was reported. A signal ends the process at once.
    pub(crate) fn shut_down(self, runtime: Runtime, code: u8) {
        self.stage.reported(code);
        runtime.shutdown_timeout(self.left(SHUTDOWN_LIMIT).unwrap_or(CLEANUP_LIMIT));
    }

    /// Returns the remaining time of a `limit` that started with the first signal, or `None` without a signal.
    fn left(&self, limit: Duration) -> Option<Duration> {
        Some(limit.saturating_sub(self.first?.elapsed()))
    }
}

/// Polls `work` while `is_held` returns true, and returns its outcome if it completes.
pub(crate) async fn hold<T>(mut work: Pin<&mut impl Future<Output = T>>, is_held: impl Fn() -> bool) -> Option<T> {
    // A redemption may end in another task.
    let mut ticks = tokio::time::interval(CHECK_INTERVAL);
    poll_fn(|context| {
        while is_held() {
            if let Poll::Ready(outcome) = work.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            if ticks.poll_tick(context).is_pending() && is_held() {
                return Poll::Pending;
            }
        }
        Poll::Ready(None)
    })
    .await
}

/// Waits for redemptions on a separate thread, which ends with the process.
async fn finished(limit: Duration) -> Result<(), Unfinished> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let wait = move || drop(sender.send(auth_core::finish_redemptions(limit)));
    match std::thread::Builder::new().name("last renewal".to_owned()).spawn(wait) {
        Ok(_) => receiver.await.unwrap_or(Ok(())),
        Err(_) => auth_core::finish_redemptions(limit),
    }
}

/// Prints to stderr. Errors are ignored: stderr may be closed.
fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr(), "{}", crate::sanitize::sanitize(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns signals sent by a test, without a handler.
    fn signals() -> (tokio::sync::mpsc::UnboundedSender<u8>, Signals) {
        let (sender, received) = tokio::sync::mpsc::unbounded_channel();
        (sender, Signals { received, stage: Stage::default(), first: None })
    }

    /// Opens a section, and completes after this time.
    async fn section(sections: &CriticalSections, time: Duration) -> Result<(), CliError> {
        let _section = sections.enter().unwrap();
        let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn section_has_ten_seconds_after_the_first_signal() {
        for (seconds, limit) in [(9, 9), (11, 10)] {
            let ((sender, mut signals), sections) = (signals(), CriticalSections::default());
            let mut work = Box::pin(section(&sections, Duration::from_secs(seconds)));
            assert!(futures_util::poll!(&mut work).is_pending());
            sender.send(15).unwrap();
            let begin = Instant::now();
            let outcome = signals.end_after(work, &sections).await;
            assert!(outcome.is_err_and(|failure| failure.is_cut_short()));
            assert_eq!(begin.elapsed().as_secs(), limit);
        }
    }
}
