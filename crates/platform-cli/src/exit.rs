//! Exit codes, and what is said with them.

use std::io::{self, Write};
use std::process::ExitCode;

/// Why the command did not do what it was asked for.
///
/// | code | meaning |
/// |---|---|
/// | 1 | failure |
/// | 2 | bad input |
/// | 6 | some items or artifacts failed |
/// | 130 | interrupted |
pub(crate) struct Failure {
    code: u8,
    error: Option<anyhow::Error>,
}

impl Failure {
    /// What the user gave cannot be used.
    pub(crate) fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 2, error: Some(error.into()) }
    }

    /// The work was done, but not all of it succeeded.
    pub(crate) fn incomplete(error: anyhow::Error) -> Self {
        Self { code: 6, error: Some(error) }
    }

    /// The user pressed Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self { code: 130, error: None }
    }

    /// Says on stderr what happened and why. A reader that closed its pipe early has what it wanted.
    pub(crate) fn report(self) -> ExitCode {
        let Some(error) = self.error else {
            return ExitCode::from(self.code);
        };
        let broken_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
        if error.downcast_ref().is_some_and(broken_pipe) {
            return ExitCode::SUCCESS;
        }
        let mut text = format!("error: {error}\n");
        let mut said = error.to_string();
        for cause in error.chain().skip(1).map(ToString::to_string) {
            // Some errors repeat their cause in their own words.
            if !said.contains(&cause) {
                text += &format!("  cause: {cause}\n");
                said = cause;
            }
        }
        // There is nobody to tell that stderr is closed.
        let _ = io::stderr().write_all(text.as_bytes());
        ExitCode::from(self.code)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { code: 1, error: Some(error.into()) }
    }
}
