//! The thread that receives signals. It works even if the rest of the process is blocked, for example in a read from
//! stdin or from an unresponsive file system.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::{CHECK_INTERVAL, IgnoredSignals, REPORT_LIMIT, SHUTDOWN_LIMIT, SINGLE_USE_LIMIT};

/// The time after a second signal within which the rest of the process can report its outcome and end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// The stage of the process. It determines the effect of a second signal and the time limit after the first one.
#[derive(Clone, Debug)]
pub(super) struct Stage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Returns true while a single-use step is in progress.
    is_in_step: fn() -> bool,
    stage: AtomicU8,
    /// The exit code of the process. Valid in the stage [`REPORTED`].
    code: AtomicU8,
    /// True if a section was open at the first signal. Its outcome is then reported.
    expects_report: AtomicBool,
    /// True if a signal ends the process. False if the signals are meant for a child.
    exits: AtomicBool,
}

const WORKING: u8 = 0;
const FINISHING: u8 = 1;
const REPORTED: u8 = 2;

impl Stage {
    /// Creates the stage of a process that is working. `is_in_step` returns true while a single-use step is in
    /// progress. With `exits`, the process ends after a signal.
    pub(super) fn new(is_in_step: fn() -> bool, exits: bool) -> Self {
        let (stage, code, expects_report) = (WORKING.into(), 0.into(), false.into());
        Self(Arc::new(Inner { is_in_step, stage, code, expects_report, exits: exits.into() }))
    }

    /// Records that a child receives the signals from now on.
    pub(super) fn hand_over(&self) {
        self.0.exits.store(false, Ordering::SeqCst);
    }

    /// Records that the work has ended, and that the process waits for single-use steps.
    pub(super) fn set_finishing(&self) {
        self.0.stage.store(FINISHING, Ordering::SeqCst);
    }

    /// Records that the single-use steps have ended.
    pub(super) fn set_working(&self) {
        self.0.stage.store(WORKING, Ordering::SeqCst);
    }

    /// Records that the outcome is printed, and that the process ends with this code.
    pub(super) fn set_reported(&self, code: u8) {
        self.0.code.store(code, Ordering::SeqCst);
        self.0.stage.store(REPORTED, Ordering::SeqCst);
    }

    /// Records that a section is open, so that the process waits for its report.
    pub(super) fn expect_report(&self) {
        self.0.expects_report.store(true, Ordering::SeqCst);
    }

    fn current(&self) -> u8 {
        self.0.stage.load(Ordering::SeqCst)
    }

    /// Returns true while the report of a section is not printed yet.
    fn is_report_pending(&self) -> bool {
        self.0.expects_report.load(Ordering::SeqCst) && self.current() != REPORTED
    }
}

/// Starts the thread. When this function returns, signals are caught.
pub(super) fn start(ignored: IgnoredSignals, stage: Stage, sender: UnboundedSender<u8>) -> io::Result<()> {
    let (ready_sender, ready_receiver) = std::sync::mpsc::channel();
    let listen = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(async move {
                match SignalStreams::new(ignored) {
                    Ok(signals) => {
                        // Sending cannot fail, because `start` waits for the message.
                        let _ = ready_sender.send(Ok(()));
                        run(signals, &stage, &sender).await;
                    }
                    Err(error) => drop(ready_sender.send(Err(error))),
                }
            }),
            Err(error) => drop(ready_sender.send(Err(error))),
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
    ready_receiver.recv().unwrap_or_else(|_| Err(io::Error::other("the thread for signals has ended")))
}

/// Forwards signals to `sender`. Ends the process if it does not end by itself in time, unless a child receives the
/// signals.
async fn run(mut signals: SignalStreams, stage: &Stage, sender: &UnboundedSender<u8>) {
    let first = signals.next().await;
    let first_signal = Instant::now();
    let send = |number| {
        // The receiver is gone when the process ends.
        let _ = sender.send(number);
    };
    send(first);
    if !stage.0.exits.load(Ordering::SeqCst) {
        loop {
            send(signals.next().await);
        }
    }
    let mut second = None;
    if stage.current() != REPORTED {
        second = tokio::time::timeout_at(first_signal + SHUTDOWN_LIMIT, signals.next()).await.ok();
        while second.is_none()
            && stage.is_report_pending()
            && Instant::now() < first_signal + SHUTDOWN_LIMIT + REPORT_LIMIT
        {
            second = tokio::time::timeout(CHECK_INTERVAL, signals.next()).await.ok();
        }
    }
    if let Some(second) = second {
        send(second);
        let (grace_end, report_end) = (Instant::now() + GRACE, Instant::now() + REPORT_LIMIT);
        while !grace_has_ended(stage, grace_end, first_signal + SINGLE_USE_LIMIT)
            || (stage.is_report_pending() && Instant::now() < report_end)
        {
            let third = tokio::time::timeout(CHECK_INTERVAL, signals.next()).await;
            if third.is_ok() && grace_has_ended(stage, first_signal, first_signal + SINGLE_USE_LIMIT) {
                break;
            }
        }
    }
    exit(if stage.current() == REPORTED { stage.0.code.load(Ordering::SeqCst) } else { 128 + first });
}

/// Returns true if the process must end after a second signal.
fn grace_has_ended(stage: &Stage, grace_end: Instant, step_end: Instant) -> bool {
    let now = Instant::now();
    match stage.current() {
        REPORTED => true,
        FINISHING => now >= grace_end && now >= step_end,
        // The main thread may be blocked, so this thread waits for the single-use steps.
        _ => now >= grace_end && (now >= step_end || !(stage.0.is_in_step)()),
    }
}

#[expect(clippy::exit, reason = "the main thread may be blocked")]
fn exit(code: u8) {
    std::process::exit(code.into());
}

/// The number of the signal for the limit of CPU time.
#[cfg(unix)]
const SIGXCPU: u8 = 24;
/// The number of the signal for the limit of the file size.
#[cfg(unix)]
const SIGXFSZ: u8 = 25;

#[cfg(unix)]
struct SignalStreams(Vec<(u8, tokio::signal::unix::Signal)>);

#[cfg(unix)]
impl SignalStreams {
    fn new(ignored: IgnoredSignals) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // Batch systems announce the end of a job with one of these.
        let batch = [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::from_raw(SIGXCPU.into())];
        let batch = batch.into_iter().filter_map(|kind| u8::try_from(kind.as_raw_value()).ok());
        // SIGHUP, SIGINT, SIGQUIT, SIGALRM, SIGTERM.
        let numbers = [1, 2, 3, 14, 15].into_iter().chain(batch).filter(|number| !ignored.contains(*number));
        // With a handler, a write beyond `ulimit -f` fails instead of ending the process.
        if !ignored.contains(SIGXFSZ) {
            drop(signal(SignalKind::from_raw(SIGXFSZ.into()))?);
        }
        let streams = numbers.map(|number| Ok((number, signal(SignalKind::from_raw(number.into()))?)));
        Ok(Self(streams.collect::<io::Result<_>>()?))
    }

    /// Waits for the next signal, and returns its number.
    async fn next(&mut self) -> u8 {
        use futures_util::FutureExt;
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let receivers = self.0.iter_mut().map(|(number, signal)| signal.recv().map(|_| *number).boxed());
        futures_util::future::select_all(receivers).await.0
    }
}

#[cfg(not(unix))]
struct SignalStreams(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl SignalStreams {
    fn new(_ignored: IgnoredSignals) -> io::Result<Self> {
        Ok(Self(tokio::signal::windows::ctrl_c()?))
    }

    async fn next(&mut self) -> u8 {
        self.0.recv().await;
        2
    }
}
