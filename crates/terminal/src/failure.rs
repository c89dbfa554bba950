//! Exit codes and error reports.

mod kind;
mod similar;

use std::fmt;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::process::ExitStatus;

use serde_json::json;

use crate::format::Format;
use crate::output::PrintError;
use crate::sanitize::{escaped_json, sanitize};
pub use kind::Kind;
pub use similar::{MAX_NAMES, similar};

/// The classification of the errors of a command.
pub trait Classify {
    /// Returns the kind of an error.
    fn kind(error: &anyhow::Error) -> Kind;

    /// Returns lines with details about an error.
    fn details(_error: &anyhow::Error) -> Vec<String> {
        Vec::new()
    }

    /// Returns the cause whose message is sufficient without its context, if there is one. The errors above it in the
    /// chain are not printed.
    fn complete_cause(_error: &anyhow::Error) -> Option<CompleteCause<'_>> {
        None
    }
}

/// A cause whose message describes an error completely, including the remedy.
#[derive(Clone, Copy, Debug)]
pub struct CompleteCause<'a> {
    /// The position of the cause in the chain of causes.
    pub position: usize,
    /// The remedy.
    pub remedy: &'a str,
}

/// The error of a command, with its exit code. As with [`anyhow::Error`], `?` converts any error to a `Failure`;
/// for that reason, `Failure` does not implement [`Error`](std::error::Error).
pub struct Failure<C> {
    exit: Exit,
    has_hint: bool,
    error: Option<anyhow::Error>,
    classifier: PhantomData<fn() -> C>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Kind(Kind),
    /// The exit code of a child command, or 0 for a closed pipe.
    Code(u8),
    Signal(u8),
}

/// A message with lines of details.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct DetailedError {
    message: String,
    details: Vec<String>,
}

impl<C> Failure<C> {
    /// Creates an error of this kind.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self::with_exit(Exit::Kind(kind), Some(error.into()))
    }

    /// Creates an error of this kind with lines of details, such as possible actions or reasons.
    pub fn with_details(kind: Kind, message: impl Into<String>, details: Vec<String>) -> Self {
        Self::new(kind, DetailedError { message: message.into(), details })
    }

    /// Creates the error for invalid input.
    pub fn bad_input(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::BAD_INPUT, error)
    }

    /// Creates the error for a name that does not exist.
    pub fn not_found(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::NOT_FOUND, error)
    }

    /// Creates the error for a name or a pattern without a match. It lists [similar](similar()) and existing names.
    pub fn no_match(message: String, name: &str, existing: &[String]) -> Self {
        Self::with_details(Kind::NOT_FOUND, message, similar(name, existing))
    }

    /// Creates the error for work that succeeded only in part.
    pub fn incomplete(message: impl fmt::Display) -> Self {
        Self::new(Kind::INCOMPLETE, anyhow::Error::msg(message.to_string()))
    }

    /// Creates the error for a command that timed out.
    pub fn timed_out(message: impl fmt::Display) -> Self {
        Self::new(Kind::TIME_OUT, anyhow::Error::msg(message.to_string()))
    }

    /// Creates the outcome of a command that a signal ended.
    pub fn signal(number: u8) -> Self {
        Self::with_exit(Exit::Signal(number), None)
    }

    /// Creates the outcome of a child command that has reported its own errors.
    pub fn child_exit(status: ExitStatus) -> Self {
        #[cfg(unix)]
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        #[cfg(not(unix))]
        let signal = None::<i32>;
        let code = status.code().or_else(|| signal.map(|number| 128 + number)).unwrap_or(1);
        Self::with_exit(Exit::Code(u8::try_from(code).unwrap_or(1)), None)
    }

    /// Creates an error with this exit code, such as 127 for a command that does not exist.
    pub fn with_code(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self::with_exit(Exit::Code(code), Some(error.into()))
    }

    fn with_exit(exit: Exit, error: Option<anyhow::Error>) -> Self {
        Self { exit, error, has_hint: true, classifier: PhantomData }
    }

    /// Returns the kind of the error, which is [`Kind::FAILED`] for a signal and for the exit code of a child command.
    pub fn kind(&self) -> Kind {
        if let Exit::Kind(kind) = self.exit { kind } else { Kind::FAILED }
    }

    /// Returns true if the error is of this kind. Hints are not compared.
    pub fn is(&self, kind: Kind) -> bool {
        matches!(self.exit, Exit::Kind(actual) if actual.name() == kind.name())
    }

    /// Returns the error to report, if there is one.
    pub fn error(&self) -> Option<&anyhow::Error> {
        self.error.as_ref()
    }

    /// Returns true if a signal or the time limit interrupted the command.
    pub fn is_interrupted(&self) -> bool {
        matches!(self.exit, Exit::Signal(_) | Exit::Kind(Kind::TIME_OUT))
    }

    /// Returns the error without the hint of its kind.
    pub fn without_hint(self) -> Self {
        Self { has_hint: false, ..self }
    }

    /// Adds context to the error.
    pub fn context(self, context: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.map(|error| error.context(context))
    }

    /// Changes the error, and keeps the kind.
    pub fn map(self, change: impl FnOnce(anyhow::Error) -> anyhow::Error) -> Self {
        Self { error: self.error.map(change), ..self }
    }

    /// Adds a message about the interrupted work.
    pub fn with_interrupted_work(self, message: &str, details: Vec<String>) -> Self {
        let message = match (self.exit, &self.error) {
            (Exit::Signal(number), _) => format!("stopped by {}: {message}", signal_name(number)),
            (_, Some(error)) => format!("{error}: {message}"),
            (_, None) => message.to_owned(),
        };
        Self { error: Some(DetailedError { message, details }.into()), ..self }
    }
}

impl<C: Classify> Failure<C> {
    /// Prints the error on stderr, as text or as one JSON object, and returns the exit code.
    pub fn report(self, format: Format) -> u8 {
        let kind = match self.exit {
            Exit::Kind(kind) => kind,
            Exit::Code(code) => Kind::new("interrupted", code),
            Exit::Signal(number) => Kind::new("interrupted", 128 + number),
        };
        if let Some(error) = &self.error {
            let text = render::<C>(error, kind, kind.hint().filter(|_| self.has_hint), format);
            // A closed stderr cannot be reported.
            let _ = writeln!(io::stderr(), "{text}");
        }
        kind.code()
    }
}

fn render<C: Classify>(error: &anyhow::Error, kind: Kind, hint: Option<&str>, format: Format) -> String {
    let own_details =
        error.downcast_ref::<DetailedError>().map(|detailed| detailed.details.as_slice()).unwrap_or_default();
    let details: Vec<_> = own_details.iter().cloned().chain(C::details(error)).collect();
    let complete_cause = C::complete_cause(error);
    let chain = error.chain().skip(complete_cause.map_or(0, |cause| cause.position)).map(ToString::to_string);
    let mut messages: Vec<String> = Vec::new();
    for message in chain {
        // Some libraries repeat the message of the cause in their own.
        if messages.last().is_none_or(|previous| !previous.contains(&message)) {
            messages.push(message);
        }
    }
    let message = if messages.is_empty() { String::new() } else { messages.remove(0) };
    let causes = messages;
    if format == Format::Table {
        let hint = hint.filter(|_| complete_cause.is_none());
        let mut lines = vec![format!("error: {}", sanitize(&message))];
        lines.extend(details.iter().map(|detail| format!("  {}", sanitize(detail))));
        lines.extend(causes.iter().map(|cause| format!("  cause: {}", sanitize(cause))));
        lines.extend(hint.map(|hint| format!("  hint: {hint}")));
        return lines.join("\n");
    }
    let error = json!({
        "kind": kind.name(), "message": message, "details": details, "causes": causes,
        "remedy": complete_cause.map(|cause| cause.remedy).or(hint), "exit_code": kind.code(),
    });
    escaped_json(&json!({ "error": error }))
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

impl<C> fmt::Debug for Failure<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Failure").field("exit", &self.exit).field("error", &self.error).finish_non_exhaustive()
    }
}

impl<C: Classify, E: Into<anyhow::Error>> From<E> for Failure<C> {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.downcast_ref::<PrintError>() {
            // A closed pipe is not an error.
            Some(print_error) if print_error.is_closed() => Self::with_exit(Exit::Code(0), None),
            Some(_) => Self::new(Kind::FAILED, error),
            None => Self::new(C::kind(&error), error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TestErrors;

    impl Classify for TestErrors {
        fn kind(_error: &anyhow::Error) -> Kind {
            Kind::FAILED
        }
    }

    #[test]
    fn hint_follows_the_causes() {
        let kind = Kind::BAD_INPUT.with_hint("do this");
        let error = || anyhow::anyhow!("cause").context("message");
        let table_text = |hint| render::<TestErrors>(&error(), kind, hint, Format::Table);
        assert_eq!(table_text(kind.hint()), "error: message\n  cause: cause\n  hint: do this");
        assert_eq!(table_text(None), "error: message\n  cause: cause");
        let json = render::<TestErrors>(&error(), kind, kind.hint(), Format::Json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["error"]["remedy"], "do this");
        assert_eq!(json["error"]["exit_code"], 2);
    }

    #[test]
    fn cause_that_the_message_contains_is_not_repeated() {
        let error = anyhow::anyhow!("no route").context("connect: no route").context("cannot list");
        let text = render::<TestErrors>(&error, Kind::FAILED, None, Format::Table);
        assert_eq!(text, "error: cannot list\n  cause: connect: no route");
    }

    #[test]
    fn only_a_closed_pipe_is_not_a_failure() {
        let failure = |kind| Failure::<TestErrors>::from(PrintError::from(io::Error::from(kind)));
        assert_eq!(failure(io::ErrorKind::BrokenPipe).report(Format::Table), 0);
        assert_eq!(failure(io::ErrorKind::StorageFull).kind(), Kind::FAILED);
    }
}
