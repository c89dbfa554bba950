//! A command from its start to its end.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::kind::{Ending, Exit, Kind};
use crate::user::User;

/// The commands of one round start within this time, in milliseconds.
const STARTS_MS: u64 = 1_000;
/// The time in which half of the first signals are sent, in milliseconds. It is about the duration of a command without
/// a refresh. The other half is also spread over the delay of the token endpoint.
const SIGNAL_MS: u64 = 80;
/// The maximum time between two signals, in milliseconds.
const SECOND_SIGNAL_MS: u64 = 300;
/// The time after which a command counts as hung.
const PATIENCE: Duration = Duration::from_secs(120);
/// The line in the log of a process that sends a refresh token.
const RENEWS: &str = "obtaining an access token";

/// A command that has not started yet.
pub(crate) struct Attempt {
    kind: Kind,
    start: Duration,
    signals: Vec<(Duration, Signal)>,
}

/// A command that has ended.
pub(crate) struct Ended {
    pub(crate) kind: Kind,
    pub(crate) exit: Exit,
    /// The kind of its error in JSON.
    pub(crate) error: Option<String>,
    /// True if it has started a refresh.
    pub(crate) renewed: bool,
    /// The start and the end, relative to the start of the round.
    pub(crate) time: (Duration, Duration),
    /// The time of each sent signal, since the start or the previous signal.
    pub(crate) signals: Vec<Duration>,
    pub(crate) stderr: String,
}

impl Attempt {
    pub(crate) fn draw(random: &mut Rng, kills: bool, delay: u64) -> Self {
        let kind = Kind::draw(random, kills);
        let mut longest = SIGNAL_MS + if random.bool() { delay } else { 0 };
        let mut signals = Vec::new();
        for signal in kind.signals() {
            signals.push((Duration::from_millis(random.u64(..longest)), signal));
            longest = SECOND_SIGNAL_MS;
        }
        Self { kind, start: Duration::from_millis(random.u64(..STARTS_MS)), signals }
    }

    pub(crate) async fn run(self, user: &User, begin: Instant) -> Ended {
        let Self { kind, start, signals } = self;
        sleep_until(begin + start).await;
        let mut command = user.command(kind.subject);
        match kind.ending {
            Ending::Timeout => drop(command.args(["--timeout", "1s"])),
            Ending::Closed => drop(command.stdout(std::io::pipe().unwrap().1)),
            Ending::OneByte => drop(command.stdout(Stdio::piped())),
            _ => {}
        }
        let mut child = command.spawn().unwrap();
        // Dropping the command closes the parent's copy of the pipe.
        drop(command);
        let mut stderr = child.stderr.take().unwrap();
        let stdout = child.stdout.take();
        let mut printed = Vec::new();
        let ((exit, sent), _, ()) =
            tokio::join!(end(&mut child, &signals), stderr.read_to_end(&mut printed), first_byte(stdout));
        let stderr = String::from_utf8_lossy(&printed).into_owned();
        Ended {
            kind,
            exit,
            error: error(&stderr),
            renewed: stderr.contains(RENEWS),
            time: (start, begin.elapsed()),
            signals: signals.into_iter().take(sent).map(|(after, _)| after).collect(),
            stderr,
        }
    }
}

async fn first_byte(stdout: Option<ChildStdout>) {
    if let Some(mut stdout) = stdout {
        // A failed command prints nothing.
        let _ = stdout.read_u8().await;
    }
}

/// Sends the signals and waits for the end. Returns the number of signals that were sent before it.
async fn end(child: &mut Child, signals: &[(Duration, Signal)]) -> (Exit, usize) {
    let mut moment = Instant::now();
    for (sent, (after, signal)) in signals.iter().enumerate() {
        moment += *after;
        if let Ok(status) = timeout_at(moment, child.wait()).await {
            return (exit(status.unwrap()), sent);
        }
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(id.unwrap(), *signal).unwrap();
    }
    let ended = timeout(PATIENCE, child.wait()).await;
    let Ok(status) = ended else {
        child.kill().await.unwrap();
        return (Exit::Hung, signals.len());
    };
    (exit(status.unwrap()), signals.len())
}

fn exit(status: ExitStatus) -> Exit {
    status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or_default()), Exit::Code)
}

/// Returns the kind of the error object on the last line.
fn error(stderr: &str) -> Option<String> {
    let last: Value = serde_json::from_str(stderr.lines().last()?).ok()?;
    Some(last["error"]["kind"].as_str()?.to_owned())
}
