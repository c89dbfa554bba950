//! The thread that receives signals. It works even if the rest of the process is blocked, for example in a read from
//! stdin or from an unresponsive file system.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use auth_core::has_redemptions;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::{CHECK_INTERVAL, Ignored, REDEMPTION_LIMIT, REPORT_LIMIT, SHUTDOWN_LIMIT};

/// The time after a second signal in which the rest of the process can report and end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// The stage of the process. It determines the effect of a second signal and the time limit after the first one.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stage: AtomicU8,
    /// The exit code, after the outcome is printed.
    code: AtomicU8,
    /// A critical section was open at the first signal.
    keeps_report: AtomicBool,
}

const WORKING: u8 = 0;
const REDEEMING: u8 = 1;
const REPORTED: u8 = 2;

impl Stage {
    /// Records that the work has ended, and that redemptions are awaited.
    pub(super) fn redeem(&self) {
        self.0.stage.store(REDEEMING, Ordering::SeqCst);
    }

    /// Records that the redemptions have ended.
    pub(super) fn redeemed(&self) {
        self.0.stage.store(WORKING, Ordering::SeqCst);
    }

    /// Records that the outcome is printed, and that the process ends with this code.
    pub(super) fn reported(&self, code: u8) {
        self.0.code.store(code, Ordering::SeqCst);
        self.0.stage.store(REPORTED, Ordering::SeqCst);
    }

    /// Records that a critical section is open, which may use all of the time. Its report follows.
    pub(super) fn keep_report(&self) {
        self.0.keeps_report.store(true, Ordering::SeqCst);
    }

    fn get(&self) -> u8 {
        self.0.stage.load(Ordering::SeqCst)
    }

    /// Returns true while the report of a critical section is not printed yet.
    fn owes_report(&self) -> bool {
        self.0.keeps_report.load(Ordering::SeqCst) && self.get() != REPORTED
    }
}

/// Starts the thread. Signals are caught when this returns.
pub(super) fn start(ignored: Ignored, ends: bool, stage: Stage, sender: UnboundedSender<u8>) -> io::Result<()> {
    let (ready, started) = std::sync::mpsc::channel();
    let listen = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(async move {
                match Caught::new(ignored) {
                    Ok(caught) => {
                        // The receiver waits for this.
                        let _ = ready.send(Ok(()));
                        run(caught, ends, &stage, &sender).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            }),
            Err(error) => drop(ready.send(Err(error))),
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
    started.recv().unwrap_or_else(|_| Err(io::Error::other("the thread for signals has ended")))
}

/// Forwards signals. With `ends`, ends the process if it does not end in time.
async fn run(mut caught: Caught, ends: bool, stage: &Stage, sender: &UnboundedSender<u8>) {
    let first = caught.next().await;
    let begin = Instant::now();
    let send = |number| {
        // The receiver is gone when the process ends.
        let _ = sender.send(number);
    };
    send(first);
    if !ends {
        loop {
            send(caught.next().await);
        }
    }
    let mut second = None;
    if stage.get() != REPORTED {
        second = tokio::time::timeout_at(begin + SHUTDOWN_LIMIT, caught.next()).await.ok();
        while second.is_none() && stage.owes_report() && Instant::now() < begin + SHUTDOWN_LIMIT + REPORT_LIMIT {
            second = tokio::time::timeout(CHECK_INTERVAL, caught.next()).await.ok();
        }
    }
    if let Some(second) = second {
        send(second);
        let (grace, report) = (Instant::now() + GRACE, Instant::now() + REPORT_LIMIT);
        while !is_over(stage, grace, begin + REDEMPTION_LIMIT) || (stage.owes_report() && Instant::now() < report) {
            let third = tokio::time::timeout(CHECK_INTERVAL, caught.next()).await;
            if third.is_ok() && is_over(stage, begin, begin + REDEMPTION_LIMIT) {
                break;
            }
        }
    }
    end(if stage.get() == REPORTED { stage.0.code.load(Ordering::SeqCst) } else { 128 + first });
}

/// Returns true if the time after a second signal is over.
fn is_over(stage: &Stage, grace: Instant, redemption_end: Instant) -> bool {
    let now = Instant::now();
    match stage.get() {
        REPORTED => true,
        REDEEMING => now >= grace && now >= redemption_end,
        // The main thread may be blocked, so that it does not wait for the redemptions itself.
        _ => now >= grace && (now >= redemption_end || !has_redemptions()),
    }
}

#[expect(clippy::exit, reason = "the main thread may be blocked")]
fn end(code: u8) {
    std::process::exit(code.into());
}

/// The limit of CPU time is reached.
#[cfg(unix)]
const XCPU: u8 = 24;
/// The limit of the size of files is reached.
#[cfg(unix)]
const XFSZ: u8 = 25;

#[cfg(unix)]
struct Caught(Vec<(u8, tokio::signal::unix::Signal)>);

#[cfg(unix)]
impl Caught {
    fn new(ignored: Ignored) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // SIGHUP, SIGINT, SIGQUIT, SIGALRM, SIGTERM. Batch systems announce the end of a job with the others.
        let batch = [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::from_raw(XCPU.into())];
        let batch = batch.into_iter().filter_map(|kind| u8::try_from(kind.as_raw_value()).ok());
        let numbers = [1, 2, 3, 14, 15].into_iter().chain(batch).filter(|number| !ignored.has(*number));
        // With a handler, a write beyond `ulimit -f` is an error instead of the end of the process.
        if !ignored.has(XFSZ) {
            drop(signal(SignalKind::from_raw(XFSZ.into()))?);
        }
        let caught = numbers.map(|number| Ok((number, signal(SignalKind::from_raw(number.into()))?)));
        Ok(Self(caught.collect::<io::Result<_>>()?))
    }

    /// Waits for the next signal, and returns its number.
    async fn next(&mut self) -> u8 {
        use futures_util::FutureExt;
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let each = self.0.iter_mut().map(|(number, signal)| signal.recv().map(|_| *number).boxed());
        futures_util::future::select_all(each).await.0
    }
}

#[cfg(not(unix))]
struct Caught(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Caught {
    fn new(_ignored: Ignored) -> io::Result<Self> {
        Ok(Self(tokio::signal::windows::ctrl_c()?))
    }

    async fn next(&mut self) -> u8 {
        self.0.recv().await;
        2
    }
}
