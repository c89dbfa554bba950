//! Exit codes, and what is said with them.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::{ExitCode, ExitStatus};

use platform_resources::Error;

use crate::shown::shown;

/// Why the command did not do what it was asked for. The codes are those that `--help` names.
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

    /// A signal ended the command.
    pub(crate) fn signal(number: u8) -> Self {
        Self { code: 128 + number, error: None }
    }

    /// A command that was to be run ended so; what there is to say it has said itself.
    pub(crate) fn passed_on(status: ExitStatus) -> Self {
        #[cfg(unix)]
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        #[cfg(not(unix))]
        let signal = None::<i32>;
        let code = status.code().or_else(|| signal.map(|number| 128 + number)).unwrap_or(1);
        Self { code: u8::try_from(code).unwrap_or(1), error: None }
    }

    /// A command that was to be run could not be: 127 if there is none of this name, 126 otherwise, as shells say it.
    pub(crate) fn not_started(error: io::Error, program: &OsStr) -> Self {
        let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        let error = anyhow::Error::from(error).context(format!("{} cannot be run", program.to_string_lossy()));
        Self { code, error: Some(error) }
    }

    /// Says on stderr what happened and why.
    pub(crate) fn report(self) -> ExitCode {
        if let Some(error) = self.error {
            let mut lines = vec![format!("error: {}", shown(&error))];
            lines.extend(details(&error).map(|detail| format!("  {}", shown(detail))));
            lines.extend(error.chain().skip(1).map(|cause| format!("  cause: {}", shown(cause))));
            // There is nobody to tell that stderr is closed.
            let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
        }
        ExitCode::from(self.code)
    }
}

/// What the platform, or the check before it, has to say in detail.
fn details(error: &anyhow::Error) -> impl Iterator<Item = String> {
    let error = error.downcast_ref::<Error>();
    let problems = error.into_iter().flat_map(|error| error.problems().iter().map(ToString::to_string));
    let api = error.and_then(Error::api);
    let refusals = api.into_iter().flat_map(|api| api.details().iter().map(ToString::to_string));
    let snippet = api.and_then(|api| api.snippet()).map(str::to_owned);
    problems.chain(refusals).chain(snippet)
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let needs_login = error.downcast_ref().is_some_and(Error::is_login_required);
        Self { code: if needs_login { 4 } else { 1 }, error: Some(error) }
    }
}
