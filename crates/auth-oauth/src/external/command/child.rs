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
/// The timeout for reading the rest of the output after the program has ended. A child process of the program may keep
/// the output open.
const REMAINING_OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

/// The outcome of a program that has ended.
pub(super) struct ProgramOutput {
    /// The exit code, or `None` after a signal.
    pub(super) exit_code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// The process group of a running program. Dropping it kills the program and its children.
struct ProcessGroup {
    #[cfg(unix)]
    id: Option<rustix::process::Pid>,
}

impl ProcessGroup {
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

    /// Prevents the kill on drop. The program has ended, and the system may use the id of its group for another
    /// process.
    fn disarm(mut self) {
        #[cfg(unix)]
        {
            self.id = None;
        }
        #[cfg(not(unix))]
        let _ = &mut self;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(id) = self.id {
            // An error means that all processes of the group have ended.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

/// Runs the program with its timeout.
pub(super) async fn run(provider: &CommandProvider) -> Result<ProgramOutput, CredentialError> {
    let mut command = provider.command();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => provider.program_not_found(),
        _ => provider.origin.unusable("it cannot be started", "check that it is executable").with_source(error),
    })?;
    let group = ProcessGroup::of(&child);
    let outcome = tokio::time::timeout(provider.timeout, wait_with_output(&mut child)).await;
    let seconds = provider.timeout.as_secs_f64();
    let output = match outcome {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return Err(provider.origin.unusable("its output cannot be read", "run it again").with_source(error));
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
    group.disarm();
    Ok(output)
}

/// Waits for the end of the program, and reads its output. If the output exceeds the limit, returns before the program
/// ends.
async fn wait_with_output(child: &mut Child) -> io::Result<ProgramOutput> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (stdout_stream, stderr_stream) = (child.stdout.take(), child.stderr.take());
    let status = {
        let mut read_output = std::pin::pin!(async {
            let read_stderr = read_tail(stderr_stream, &mut stderr);
            let read_stdout = async {
                if let Some(stream) = stdout_stream {
                    stream.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut stdout).await?;
                }
                if stdout.len() as u64 > MAX_OUTPUT_BYTES { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
            };
            tokio::try_join!(read_stdout, read_stderr).map(drop)
        });
        tokio::select! {
            outcome = &mut read_output => match outcome {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => None,
                outcome => {
                    outcome?;
                    Some(child.wait().await?)
                }
            },
            status = child.wait() => {
                match tokio::time::timeout(REMAINING_OUTPUT_TIMEOUT, read_output).await {
                    Ok(Err(error)) if error.kind() != io::ErrorKind::FileTooLarge => return Err(error),
                    _ => Some(status?),
                }
            }
        }
    };
    Ok(ProgramOutput { exit_code: status.and_then(|status| status.code()), stdout, stderr })
}

/// Reads a stream to its end, and stores its last 4096 bytes in `tail`.
async fn read_tail(stream: Option<impl AsyncRead + Unpin>, tail: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut block = [0; 4096];
    loop {
        let length = stream.read(&mut block).await?;
        if length == 0 {
            return Ok(());
        }
        tail.extend_from_slice(&block[..length]);
        let excess = tail.len().saturating_sub(block.len());
        tail.drain(..excess);
    }
}
