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

use crate::kind::{CommandKind, Ending, Exit};
use crate::user::User;

/// The commands of one round start within this time, in milliseconds.
const STARTS_MS: u64 = 1_000;
/// The maximum time until the first signal in half of the commands, in milliseconds. It is about the duration of a
/// command without a refresh. In the other half, the delay of the token endpoint is added.
const SIGNAL_MS: u64 = 80;
/// The maximum time between two signals, in milliseconds.
const SECOND_SIGNAL_MS: u64 = 300;
/// The time after which a command counts as hung and is killed.
const HANG_TIMEOUT: Duration = Duration::from_secs(120);
/// The log message of a process before it sends a refresh token.
const REFRESH_MESSAGE: &str = "obtaining an access token";

/// A command that has not started yet.
pub(crate) struct Attempt {
    kind: CommandKind,
    start: Duration,
    signals: Vec<(Duration, Signal)>,
}

/// A command that has ended.
pub(crate) struct EndedCommand {
    pub(crate) kind: CommandKind,
    pub(crate) exit: Exit,
    /// The kind of its error, from the JSON output.
    pub(crate) error: Option<String>,
    /// True if the command has started a refresh.
    pub(crate) has_refreshed: bool,
    /// The start and the end, relative to the start of the round.
    pub(crate) time: (Duration, Duration),
    /// The time of each sent signal, since the start or the previous signal.
    pub(crate) signals: Vec<Duration>,
    pub(crate) stderr: String,
}

impl Attempt {
    pub(crate) fn draw(random: &mut Rng, kills: bool, delay: u64) -> Self {
        let kind = CommandKind::draw(random, kills);
        let mut max_delay_ms = SIGNAL_MS + if random.bool() { delay } else { 0 };
        let mut signals = Vec::new();
        for signal in kind.signals() {
            signals.push((Duration::from_millis(random.u64(..max_delay_ms)), signal));
            max_delay_ms = SECOND_SIGNAL_MS;
        }
        Self { kind, start: Duration::from_millis(random.u64(..STARTS_MS)), signals }
    }

    pub(crate) async fn run(self, user: &User, begin: Instant) -> EndedCommand {
        let Self { kind, start, signals } = self;
        sleep_until(begin + start).await;
        let mut command = user.command(kind.program);
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
        let ((exit, sent), _, ()) = tokio::join!(
            send_signals_and_wait(&mut child, &signals),
            stderr.read_to_end(&mut printed),
            read_first_byte(stdout)
        );
        let stderr = String::from_utf8_lossy(&printed).into_owned();
        EndedCommand {
            kind,
            exit,
            error: error_kind(&stderr),
            has_refreshed: stderr.contains(REFRESH_MESSAGE),
            time: (start, begin.elapsed()),
            signals: signals.into_iter().take(sent).map(|(after, _)| after).collect(),
            stderr,
        }
    }
}

async fn read_first_byte(stdout: Option<ChildStdout>) {
    if let Some(mut stdout) = stdout {
        // A failed command prints nothing.
        let _ = stdout.read_u8().await;
    }
}

/// Sends the signals and waits for the end of the process. Returns the number of signals that were sent before the end.
async fn send_signals_and_wait(child: &mut Child, signals: &[(Duration, Signal)]) -> (Exit, usize) {
    let mut signal_time = Instant::now();
    for (sent, (after, signal)) in signals.iter().enumerate() {
        signal_time += *after;
        if let Ok(status) = timeout_at(signal_time, child.wait()).await {
            return (exit_of(status.unwrap()), sent);
        }
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(id.unwrap(), *signal).unwrap();
    }
    let exit_status = timeout(HANG_TIMEOUT, child.wait()).await;
    let Ok(status) = exit_status else {
        child.kill().await.unwrap();
        return (Exit::Hung, signals.len());
    };
    (exit_of(status.unwrap()), signals.len())
}

fn exit_of(status: ExitStatus) -> Exit {
    status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or_default()), Exit::Code)
}

/// Returns the kind of the error object on the last line.
fn error_kind(stderr: &str) -> Option<String> {
    let last: Value = serde_json::from_str(stderr.lines().last()?).ok()?;
    Some(last["error"]["kind"].as_str()?.to_owned())
}
