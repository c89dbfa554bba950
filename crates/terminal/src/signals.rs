//! Signals that end the command, and the work that they must not interrupt.

mod ignored;
mod watchdog;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::failure::Failure;
pub(crate) use ignored::IgnoredSignals;
use watchdog::Stage;

/// The maximum time from a signal to the end of the process, without the time for the report of a section
/// ([`REPORT_LIMIT`]). Slurm and Kubernetes send SIGKILL after 30 s.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);
/// The maximum time of a section after a signal or a timeout.
pub const SECTION_LIMIT: Duration = SHUTDOWN_LIMIT;
/// The maximum time for the report of a section, after [`SHUTDOWN_LIMIT`] or a second signal. The report takes
/// milliseconds unless the machine is busy.
const REPORT_LIMIT: Duration = Duration::from_secs(15);
/// The maximum time of a single-use step after a signal.
pub const SINGLE_USE_LIMIT: Duration = Duration::from_secs(8);
/// The maximum time for which single-use steps can continue after the work of the command, without a signal.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(30);
/// The maximum time for the cleanup of dropped work, without a signal.
const CLEANUP_LIMIT: Duration = Duration::from_secs(5);
/// The interval between checks for the end of protected work.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The critical sections of the work. The first signal does not interrupt them, because the outcome of an interrupted
/// section is unknown.
pub trait Sections {
    /// Prevents new sections. Called when the process is about to end.
    fn close(&self);

    /// Returns true while a section is open.
    fn is_open(&self) -> bool;
}

/// The steps that no signal interrupts, because they cannot be repeated, such as the redemption of a credential. The
/// functions may be called on any thread.
#[derive(Debug)]
pub struct SingleUse<E> {
    /// Returns true while dropping the work of the command would cancel a step.
    pub is_in_work: fn() -> bool,
    /// Returns true while a step is in progress anywhere in the process.
    pub is_in_progress: fn() -> bool,
    /// Blocks until all steps have ended, at most for the given time, and prevents new steps.
    pub finish: fn(Duration) -> Result<(), E>,
}

impl<E> Clone for SingleUse<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for SingleUse<E> {}

/// The signals that end the command.
#[derive(Debug)]
pub struct Signals {
    receiver: UnboundedReceiver<u8>,
    stage: Stage,
    /// The time of the first signal.
    first_signal: Option<Instant>,
    is_in_work: fn() -> bool,
}

impl Signals {
    /// Catches the signals that are not `ignored`, until the process ends. With `exits`, the process exits 10 s after
    /// the first signal, or at a second one.
    pub(crate) fn catch<E>(ignored: IgnoredSignals, exits: bool, single_use: SingleUse<E>) -> io::Result<Self> {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let stage = Stage::new(single_use.is_in_progress, exits);
        watchdog::start(ignored, stage.clone(), sender)?;
        Ok(Self { receiver, stage, first_signal: None, is_in_work: single_use.is_in_work })
    }

    /// Records that a child receives the signals from now on, so that they do not end this process.
    pub(crate) fn hand_over(&self) {
        self.stage.hand_over();
    }

    /// Waits for the next signal, and returns its number.
    pub async fn next(&mut self) -> u8 {
        match self.receiver.recv().await {
            Some(number) => {
                self.first_signal.get_or_insert_with(Instant::now);
                number
            }
            None => std::future::pending().await,
        }
    }

    /// Runs `work`, and drops it when a signal arrives. While one of its `sections` is open, it continues for up to 10
    /// s or until a second signal; in a single-use step, it continues for up to 8 s.
    ///
    /// # Errors
    ///
    /// The error of the work, or the signal.
    pub async fn run_until_signal<C>(
        &mut self,
        work: impl Future<Output = Result<(), Failure<C>>>,
        sections: &impl Sections,
    ) -> Result<(), Failure<C>> {
        let mut work = std::pin::pin!(work);
        let number = tokio::select! {
            biased;
            number = self.next() => number,
            outcome = &mut work => return outcome,
        };
        sections.close();
        let first_signal = self.first_signal.unwrap_or_else(Instant::now);
        let has_second_signal = Cell::new(false);
        let had_open_section = sections.is_open();
        if had_open_section {
            self.stage.expect_report();
        }
        let is_in_step = self.is_in_work;
        let must_continue = || {
            let elapsed = first_signal.elapsed();
            (sections.is_open() && !has_second_signal.get() && elapsed < SECTION_LIMIT)
                || (is_in_step() && elapsed < SINGLE_USE_LIMIT)
        };
        let mut work = std::pin::pin!(poll_while(work, must_continue));
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = self.next() => has_second_signal.set(true),
            }
        };
        match outcome {
            // Without an open section, the outcome of the interrupted work is not reported.
            Some(Err(failure)) if had_open_section => Err(failure),
            _ => Err(Failure::signal(number)),
        }
    }

    /// Waits for the single-use steps that continue after the work of the command: up to 30 s, or up to 8 s after a
    /// signal. Prevents new steps.
    ///
    /// # Errors
    ///
    /// The error of [`SingleUse::finish`].
    pub async fn finish<E: Send + 'static>(&mut self, single_use: SingleUse<E>) -> Result<(), E> {
        self.stage.set_finishing();
        let finish = single_use.finish;
        let limit = self.remaining(SINGLE_USE_LIMIT).unwrap_or(BACKGROUND_LIMIT);
        let outcome = tokio::select! {
            outcome = finish_on_thread(finish, limit) => outcome,
            _ = self.next() => finish_on_thread(finish, self.remaining(SINGLE_USE_LIMIT).unwrap_or_default()).await,
        };
        self.stage.set_working();
        outcome
    }

    /// Waits for the cleanup of dropped work, after the outcome was reported. A further signal ends the process at
    /// once.
    pub(crate) fn shut_down(self, runtime: Runtime, code: u8) {
        self.stage.set_reported(code);
        runtime.shutdown_timeout(self.remaining(SHUTDOWN_LIMIT).unwrap_or(CLEANUP_LIMIT));
    }

    /// Returns the remaining time of a `limit` that started with the first signal, or `None` without a signal.
    fn remaining(&self, limit: Duration) -> Option<Duration> {
        Some(limit.saturating_sub(self.first_signal?.elapsed()))
    }
}

/// Polls `work` while `condition` returns true, and returns its outcome if it completes.
pub async fn poll_while<T>(mut work: Pin<&mut impl Future<Output = T>>, condition: impl Fn() -> bool) -> Option<T> {
    // The condition can change without waking this task.
    let mut ticks = tokio::time::interval(CHECK_INTERVAL);
    poll_fn(|context| {
        while condition() {
            if let Poll::Ready(outcome) = work.as_mut().poll(context) {
                return Poll::Ready(Some(outcome));
            }
            if ticks.poll_tick(context).is_pending() && condition() {
                return Poll::Pending;
            }
        }
        Poll::Ready(None)
    })
    .await
}

/// Waits for single-use steps on a separate thread, which ends with the process.
async fn finish_on_thread<E: Send + 'static>(finish: fn(Duration) -> Result<(), E>, limit: Duration) -> Result<(), E> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let wait = move || drop(sender.send(finish(limit)));
    match std::thread::Builder::new().name("single-use steps".to_owned()).spawn(wait) {
        Ok(_) => receiver.await.unwrap_or(Ok(())),
        Err(_) => finish(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct TestSections(Cell<bool>);

    impl Sections for TestSections {
        fn close(&self) {}

        fn is_open(&self) -> bool {
            self.0.get()
        }
    }

    /// Returns signals that a test sends, without a signal handler.
    fn signals() -> (tokio::sync::mpsc::UnboundedSender<u8>, Signals) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        (sender, Signals { receiver, stage: Stage::new(|| false, true), first_signal: None, is_in_work: || false })
    }

    /// Runs work with a section that is open for this time.
    async fn run_section(sections: &TestSections, time: Duration) -> Result<(), Failure<()>> {
        sections.0.set(true);
        let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
        sections.0.set(false);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn section_has_ten_seconds_after_the_first_signal() {
        for (seconds, limit) in [(9, 9), (11, 10)] {
            let ((sender, mut signals), sections) = (signals(), TestSections::default());
            let mut work = Box::pin(run_section(&sections, Duration::from_secs(seconds)));
            assert!(futures_util::poll!(&mut work).is_pending());
            sender.send(15).unwrap();
            let start = Instant::now();
            let outcome = signals.run_until_signal(work, &sections).await;
            assert!(outcome.is_err_and(|failure| failure.is_interrupted()));
            assert_eq!(start.elapsed().as_secs(), limit);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn second_signal_ends_a_section_at_once() {
        let ((sender, mut signals), sections) = (signals(), TestSections::default());
        let mut work = Box::pin(run_section(&sections, Duration::from_secs(9)));
        assert!(futures_util::poll!(&mut work).is_pending());
        sender.send(15).unwrap();
        sender.send(15).unwrap();
        let start = Instant::now();
        assert!(signals.run_until_signal(work, &sections).await.is_err());
        assert_eq!(start.elapsed().as_secs(), 0);
    }
}
