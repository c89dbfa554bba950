//! The process of a token command.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;

use super::CommandProvider;
use crate::external::error::CredentialError;

/// The maximum size of the output, in bytes.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024;
/// The time for reading the rest of the output after the program has ended, if one of its children still holds it open.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// The outcome of a program that has ended.
pub(super) struct Output {
    /// The exit code, or `None` after a signal.
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// A running program. Dropping it kills the program and its children.
struct Group {
    #[cfg(unix)]
    id: Option<rustix::process::Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        #[cfg(unix)]
        {
            let id = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
            Self { id }
        }
        #[cfg(not(unix))]
        {
            let _ = child;
            Self {}
        }
    }

    /// Keeps the children that the program has left running. Its id may belong to another process from now on.
    #[cfg_attr(not(unix), expect(clippy::unused_self, reason = "a group exists on Unix only"))]
    fn release(mut self) {
        #[cfg(unix)]
        {
            self.id = None;
        }
        #[cfg(not(unix))]
        let _ = &mut self;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(id) = self.id {
            // It may have ended.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

/// Runs the program within its time limit.
pub(super) async fn run(provider: &CommandProvider) -> Result<Output, CredentialError> {
    let mut command = provider.prepared();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => provider.not_found(),
        _ => provider.origin.unusable("it cannot be started", "check that it is executable").because(error),
    })?;
    let group = Group::of(&child);
    let work = tokio::time::timeout(provider.timeout, finished(&mut child)).await;
    let seconds = provider.timeout.as_secs_f64();
    let output = match work {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return Err(provider.origin.unusable("its output cannot be read", "run it again").because(error));
        }
        Err(_) => {
            let reason = format!("it printed no token within {seconds} s and was killed");
            return Err(provider.origin.unusable(reason, "run it in a terminal: it must not wait for input"));
        }
    };
    if output.stdout.len() as u64 > MAX_OUTPUT_BYTES {
        let reason = format!("its output is larger than {MAX_OUTPUT_BYTES} bytes");
        return Err(provider.origin.unusable(reason, "it must print only a token, or JSON with a token"));
    }
    group.release();
    Ok(output)
}

/// Waits for the program, and reads its output up to the limit. A program with more output is not waited for.
async fn finished(child: &mut Child) -> io::Result<Output> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let status = {
        let mut reading = std::pin::pin!(async {
            let err = drained(err, &mut stderr);
            let out = async {
                if let Some(out) = out {
                    out.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut stdout).await?;
                }
                if stdout.len() as u64 > MAX_OUTPUT_BYTES { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
            };
            tokio::try_join!(out, err).map(drop)
        });
        tokio::select! {
            read = &mut reading => match read {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => None,
                read => {
                    read?;
                    Some(child.wait().await?)
                }
            },
            status = child.wait() => {
                match tokio::time::timeout(REST_TIMEOUT, reading).await {
                    Ok(Err(error)) if error.kind() != io::ErrorKind::FileTooLarge => return Err(error),
                    _ => Some(status?),
                }
            }
        }
    };
    Ok(Output { code: status.and_then(|status| status.code()), stdout, stderr })
}

/// Reads a stream to its end, and keeps its last part.
async fn drained(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut block = [0; 4096];
    loop {
        let length = stream.read(&mut block).await?;
        if length == 0 {
            return Ok(());
        }
        kept.extend_from_slice(&block[..length]);
        let surplus = kept.len().saturating_sub(block.len());
        kept.drain(..surplus);
    }
}
