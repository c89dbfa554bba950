//! The kinds of commands and their ends.

use std::fmt;

use fastrand::Rng;
use rustix::process::Signal;

use crate::program::Variant;

/// A program that uses the login.
#[derive(Clone, Copy)]
pub(crate) enum Subject {
    /// The command, with these arguments.
    Command(&'static str),
    /// A program that drops its client and returns from `main` at once.
    Library(Variant),
}

const COMMANDS: [&str; 4] = ["user whoami", "auth token", "run list", "application list"];
/// One of this number of commands is a library program.
const LIBRARY: usize = 6;

/// The end that is planned for a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The command completes.
    Done,
    /// The command runs with `--timeout 1s`, which may be too short.
    Timeout,
    /// The reader of the output is closed before the command writes.
    Closed,
    /// The reader takes one byte, as `head -c1` does.
    OneByte,
    Signal(Signal),
    /// The same signal a second time.
    Twice(Signal),
}

const ENDINGS: [Ending; 9] = [
    Ending::Done,
    Ending::Done,
    Ending::Timeout,
    Ending::Closed,
    Ending::OneByte,
    Ending::Signal(Signal::INT),
    Ending::Signal(Signal::TERM),
    Ending::Signal(Signal::HUP),
    Ending::Twice(Signal::INT),
];

/// A program and its planned end.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) subject: Subject,
    pub(crate) ending: Ending,
}

impl Kind {
    pub(crate) fn draw(random: &mut Rng, kills: bool) -> Self {
        if random.usize(..LIBRARY) == 0 {
            let variant = if random.bool() { Variant::Async } else { Variant::Blocking };
            // A library cannot handle a signal that its program does not catch.
            return Self { subject: Subject::Library(variant), ending: Ending::Done };
        }
        let subject = Subject::Command(COMMANDS[random.usize(..COMMANDS.len())]);
        let ending = match ENDINGS.get(random.usize(..ENDINGS.len() + 2 * usize::from(kills))) {
            Some(ending) => *ending,
            None => Ending::Signal(Signal::KILL),
        };
        Self { subject, ending }
    }

    /// Returns the signals to send, in order.
    pub(crate) fn signals(self) -> Vec<Signal> {
        match self.ending {
            Ending::Signal(signal) => vec![signal],
            Ending::Twice(signal) => vec![signal; 2],
            _ => Vec::new(),
        }
    }

    /// Returns true if an exit in this way is expected of the kind.
    pub(crate) fn explains(self, exit: Exit, error: Option<&str>) -> bool {
        let (sent, timed) = (self.signals(), self.ending == Ending::Timeout);
        match exit {
            Exit::Code(0) => true,
            Exit::Code(1) if timed => error == Some("time_out") || error == Some("unreachable"),
            Exit::Code(code) => sent.iter().any(|signal| code == 128 + signal.as_raw()),
            Exit::Signal(number) => sent.iter().any(|signal| number == signal.as_raw()),
            Exit::Hung => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject {
            Subject::Command(words) => formatter.write_str(words)?,
            Subject::Library(variant) => write!(formatter, "{}", variant.name())?,
        }
        match self.ending {
            Ending::Done => Ok(()),
            Ending::Timeout => formatter.write_str(" --timeout 1s"),
            Ending::Closed => formatter.write_str(" >closed pipe"),
            Ending::OneByte => formatter.write_str(" | head -c1"),
            Ending::Signal(signal) => write!(formatter, ", {}", name(signal)),
            Ending::Twice(signal) => write!(formatter, ", {} twice", name(signal)),
        }
    }
}

fn name(signal: Signal) -> String {
    let names =
        [(Signal::HUP, "SIGHUP"), (Signal::INT, "SIGINT"), (Signal::KILL, "SIGKILL"), (Signal::TERM, "SIGTERM")];
    let known = names.iter().find(|(known, _)| *known == signal);
    known.map_or_else(|| format!("signal {}", signal.as_raw()), |(_, name)| (*name).to_owned())
}

/// The end of a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    /// The process did not end, and was killed after a long wait.
    Hung,
}

impl Exit {
    pub(crate) fn is_kill(self) -> bool {
        self == Self::Signal(Signal::KILL.as_raw())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "{code}"),
            Self::Signal(number) => write!(formatter, "signal {number}"),
            Self::Hung => formatter.write_str("hung"),
        }
    }
}
