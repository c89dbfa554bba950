//! Exit codes and error reports.

mod kind;

use std::error::Error as StdError;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::ExitStatus;

use auth_oauth::CredentialError;
use platform_resources::Error;
use serde_json::json;

use crate::command_line::look_up;
use crate::format::Format;
use crate::sanitize::{escaped_json, sanitize};
use kind::Kind;

/// The maximum number of names that an error lists.
pub(crate) const EXAMPLES: usize = 20;

/// The similarity (Jaro-Winkler, 0 to 1) above which a name is suggested.
const MIN_SIMILARITY: f64 = 0.8;

/// The error of a command, with its exit code.
#[derive(Debug)]
pub(crate) struct CliError {
    kind: Kind,
    error: Option<anyhow::Error>,
    has_hint: bool,
}

impl CliError {
    fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self { kind, error: Some(error.into()), has_hint: true }
    }

    /// Creates the error of invalid input.
    pub(crate) fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::BadInput, error)
    }

    /// Creates the error of a name that does not exist.
    pub(crate) fn not_found(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::NotFound, error)
    }

    /// Creates the error of a name or a pattern without a match. At most [`EXAMPLES`] names are listed, similar ones first.
    pub(crate) fn nothing_selected(message: String, wanted: &str, existing: &[String]) -> Self {
        Self::not_found(Problems { message, details: existing_lines(wanted, existing) })
    }

    /// Returns true if the requested resource does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// Returns the operation of the platform that failed, as its id in the OpenAPI document.
    pub(crate) fn operation(&self) -> Option<&'static str> {
        failed_operation(self.error.as_ref()?)
    }

    /// Returns the error without the hint of its kind, which does not help here.
    pub(crate) fn without_hint(self) -> Self {
        Self { has_hint: false, ..self }
    }

    /// Creates the error of a response with this status.
    pub(crate) fn of_status(status: u16) -> Self {
        let kind = match status {
            400 | 422 => Kind::BadInput,
            401 => Kind::LoginRequired,
            402 => Kind::Quota,
            403 => Kind::Forbidden,
            404 | 410 => Kind::NotFound,
            409 | 412 => Kind::Refused,
            500.. => Kind::Unreachable,
            _ => Kind::Failed,
        };
        Self::new(kind, anyhow::anyhow!("the platform responded with {status}"))
    }

    /// Creates the error of an unhealthy platform.
    pub(crate) fn unhealthy(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Unhealthy, error)
    }

    /// Creates the error of work that succeeded only in part.
    pub(crate) fn incomplete(error: anyhow::Error) -> Self {
        Self::new(Kind::Incomplete, error)
    }

    /// Creates the error of a command that timed out.
    pub(crate) fn time_out(error: anyhow::Error) -> Self {
        Self::new(Kind::TimeOut, error)
    }

    /// Creates the outcome of a command that a signal ended.
    pub(crate) fn signal(number: u8) -> Self {
        Self { kind: Kind::Signal(number), error: None, has_hint: true }
    }

    /// Returns true if a signal or the time limit ended the work of the command.
    pub(crate) fn is_cut_short(&self) -> bool {
        matches!(self.kind, Kind::Signal(_) | Kind::TimeOut)
    }

    /// Returns true if the platform or the identity provider requires another login.
    pub(crate) fn is_login_required(&self) -> bool {
        self.kind == Kind::LoginRequired
    }

    /// Names the credential that was rejected, unless the error names it already. `kind` is that of the credential, and
    /// `name` the setting that names it.
    pub(crate) fn rejected(self, kind: &'static str, name: &str) -> Self {
        let Some(error) = self.error else { return self };
        if error.chain().any(<dyn StdError>::is::<CredentialError>) {
            return Self { error: Some(error), ..self };
        }
        let is_by_platform = error.chain().find_map(|cause| cause.downcast_ref::<Error>()?.api()).is_some();
        let named = if is_by_platform {
            let reason = format!("the platform rejected the token ({error})");
            CredentialError::refused(kind, name, &reason, "provide another token")
        } else {
            let reason = format!("the identity provider refused it ({})", error.root_cause());
            CredentialError::refused(
                kind,
                name,
                &reason,
                "set it to a valid one, or unset it to use another credential",
            )
        };
        Self { error: Some(named.into()), ..self }
    }

    /// Adds the work that continues elsewhere.
    pub(crate) fn cut_short(self, message: String, details: Vec<String>) -> Self {
        let message = match (self.kind, &self.error) {
            (Kind::Signal(number), _) => format!("stopped by {}: {message}", signal_name(number)),
            (_, Some(error)) => format!("{error}: {message}"),
            (_, None) => message,
        };
        Self { error: Some(Problems { message, details }.into()), ..self }
    }

    /// Creates the error of a request with an unknown outcome. Each line of `details` is a possible action.
    pub(crate) fn uncertain(error: &anyhow::Error, details: Vec<String>) -> Self {
        Self::new(Kind::Uncertain, Problems { message: error.to_string(), details })
    }

    /// Creates the error of a submission by `api` with an unknown outcome.
    pub(crate) fn uncertain_request(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::UncertainRequest, error)
    }

    /// Creates the error of output that could not be written. A closed pipe is not an error.
    pub(crate) fn unprinted(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { kind: Kind::Code(0), error: None, has_hint: true },
            _ => Self::new(Kind::Failed, anyhow::Error::from(error).context("cannot write to stdout")),
        }
    }

    /// Returns the exit code of a child command, which has reported its own errors.
    pub(crate) fn passed_on(status: ExitStatus) -> Self {
        #[cfg(unix)]
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        #[cfg(not(unix))]
        let signal = None::<i32>;
        let code = status.code().or_else(|| signal.map(|number| 128 + number)).unwrap_or(1);
        Self { kind: Kind::Code(u8::try_from(code).unwrap_or(1)), error: None, has_hint: true }
    }

    /// Creates the error of a child command that could not be started: 127 if it does not exist, otherwise 126, as in
    /// shells.
    pub(crate) fn not_started(error: io::Error, program: &OsStr) -> Self {
        let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        let error = anyhow::Error::from(error).context(format!("cannot run '{}'", program.to_string_lossy()));
        Self::new(Kind::Code(code), error)
    }

    /// Adds context to the error.
    pub(crate) fn context(self, about: impl std::fmt::Display + Send + Sync + 'static) -> Self {
        Self { error: self.error.map(|error| error.context(about)), ..self }
    }

    /// Prints the error on stderr, as text or as one JSON object, and returns the exit code.
    pub(crate) fn report(self, format: Format) -> u8 {
        let (name, code, remedy) = self.kind.described();
        if let Some(error) = self.error {
            let remedy = remedy.or_else(|| self.kind.hint_for(failed_operation(&error)?)).filter(|_| self.has_hint);
            let details: Vec<_> = details(&error).collect();
            // The error of a credential is complete. The errors above it say only that no token is available.
            let above = error.chain().position(<dyn StdError>::is::<CredentialError>);
            let mut chain = error.chain().skip(above.unwrap_or_default()).map(ToString::to_string);
            let message = chain.next().unwrap_or_default();
            let causes: Vec<_> = chain.collect();
            let credential = error.chain().find_map(|cause| cause.downcast_ref::<CredentialError>());
            let remedy = credential.map_or(remedy, |credential| Some(credential.remedy()));
            let text = if format == Format::Table {
                // The message of a credential has the remedy.
                let remedy = remedy.filter(|_| credential.is_none());
                let mut lines = vec![format!("error: {}", sanitize(&message))];
                lines.extend(details.iter().map(|detail| format!("  {}", sanitize(detail))));
                lines.extend(causes.iter().map(|cause| format!("  cause: {}", sanitize(cause))));
                lines.extend(remedy.map(|remedy| format!("  hint: {remedy}")));
                lines.join("\n")
            } else {
                let error = json!({
                    "kind": name, "message": message, "details": details, "causes": causes,
                    "remedy": remedy, "exit_code": code,
                });
                escaped_json(&json!({ "error": error }))
            };
            // A closed stderr cannot be reported.
            let _ = writeln!(io::stderr(), "{text}");
        }
        code
    }
}

fn signal_name(number: u8) -> String {
    match number {
        1 => "SIGHUP".to_owned(),
        2 => "SIGINT".to_owned(),
        3 => "SIGQUIT".to_owned(),
        10 if cfg!(target_os = "linux") => "SIGUSR1".to_owned(),
        12 if cfg!(target_os = "linux") => "SIGUSR2".to_owned(),
        14 => "SIGALRM".to_owned(),
        15 => "SIGTERM".to_owned(),
        24 => "SIGXCPU".to_owned(),
        other => format!("signal {other}"),
    }
}

/// Several problems.
#[derive(Debug)]
struct Problems {
    message: String,
    details: Vec<String>,
}

impl std::fmt::Display for Problems {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Problems {}

/// Returns a line for each name, up to a limit, before them the most similar one.
fn existing_lines(wanted: &str, existing: &[String]) -> Vec<String> {
    if existing.is_empty() {
        return vec!["nothing exists".to_owned()];
    }
    let similar = existing.iter().map(|name| (strsim::jaro_winkler(wanted, name), name));
    let similar =
        similar.filter(|(similarity, _)| *similarity > MIN_SIMILARITY).max_by(|one, other| one.0.total_cmp(&other.0));
    let similar = similar.map(|(_, name)| format!("did you mean '{name}'?"));
    let lines = existing.iter().take(EXAMPLES).map(|name| format!("exists: {name}"));
    similar.into_iter().chain(lines).chain((existing.len() > EXAMPLES).then(|| "and more".to_owned())).collect()
}

/// Returns the operation of the platform that failed.
fn failed_operation(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| Some(cause.downcast_ref::<Error>()?.api()?.operation()))
}

/// Returns the details of an error from the platform or from validation.
fn details(error: &anyhow::Error) -> impl Iterator<Item = String> {
    let pipeline = error.downcast_ref::<platform_pipeline::Error>();
    let own = error.downcast_ref::<Problems>().into_iter().flat_map(|problems| problems.details.iter().cloned());
    let own = own.chain(pipeline.into_iter().flat_map(|error| error.details().iter().cloned()));
    let error = error.downcast_ref::<Error>().or_else(|| pipeline?.platform());
    let problems = error.into_iter().flat_map(|error| error.problems().iter().map(ToString::to_string));
    let api = error.and_then(Error::api);
    let refusals = api.into_iter().flat_map(|api| api.details().iter().map(ToString::to_string));
    let snippet = api.and_then(|api| api.snippet()).map(str::to_owned);
    let token = error.and_then(Error::submission_token);
    let look_up = token.into_iter().flat_map(look_up);
    let unmatched = error.and_then(Error::unmatched_selection);
    let existing = unmatched.into_iter().flat_map(|selection| existing_lines(selection.wanted(), selection.existing()));
    own.chain(problems).chain(refusals).chain(snippet).chain(look_up).chain(existing)
}

impl<E: Into<anyhow::Error>> From<E> for CliError {
    fn from(error: E) -> Self {
        let error = error.into();
        Self { kind: Kind::of(&error), error: Some(error), has_hint: true }
    }
}
