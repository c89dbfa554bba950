//! The kinds of commands and their ends.

use std::fmt;

use fastrand::Rng;
use rustix::process::Signal;

use crate::program::Variant;

/// A program that uses the login.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    /// The command, with these arguments.
    Command(&'static str),
    /// A program that drops its client and returns from `main` at once.
    Library(Variant),
}

const COMMANDS: [&str; 4] = ["user whoami", "auth token", "run list", "application list"];
/// On average, one of this number of programs is a library program.
const LIBRARY_RATIO: usize = 6;

/// The end that is planned for a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The command completes.
    Done,
    /// The command runs with `--timeout 1s`, which may be too short.
    Timeout,
    /// The reader of the output is closed before the command writes.
    Closed,
    /// The reader closes the pipe after one byte, like `head -c1`.
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
pub(crate) struct CommandKind {
    pub(crate) program: Program,
    pub(crate) ending: Ending,
}

impl CommandKind {
    pub(crate) fn draw(random: &mut Rng, kills: bool) -> Self {
        if random.usize(..LIBRARY_RATIO) == 0 {
            let variant = if random.bool() { Variant::Async } else { Variant::Blocking };
            // A library cannot handle a signal that its program does not catch.
            return Self { program: Program::Library(variant), ending: Ending::Done };
        }
        let program = Program::Command(COMMANDS[random.usize(..COMMANDS.len())]);
        let ending = match ENDINGS.get(random.usize(..ENDINGS.len() + 2 * usize::from(kills))) {
            Some(ending) => *ending,
            None => Ending::Signal(Signal::KILL),
        };
        Self { program, ending }
    }

    /// Returns the signals to send, in order.
    pub(crate) fn signals(self) -> Vec<Signal> {
        match self.ending {
            Ending::Signal(signal) => vec![signal],
            Ending::Twice(signal) => vec![signal; 2],
            _ => Vec::new(),
        }
    }

    /// Returns true if this exit is expected of a command of this kind.
    pub(crate) fn allows(self, exit: Exit, error: Option<&str>) -> bool {
        let (sent_signals, has_timeout) = (self.signals(), self.ending == Ending::Timeout);
        match exit {
            Exit::Code(0) => true,
            Exit::Code(1) if has_timeout => error == Some("time_out") || error == Some("unreachable"),
            Exit::Code(code) => sent_signals.iter().any(|signal| code == 128 + signal.as_raw()),
            Exit::Signal(number) => sent_signals.iter().any(|signal| number == signal.as_raw()),
            Exit::Hung => false,
        }
    }
}

impl fmt::Display for CommandKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.program {
            Program::Command(words) => formatter.write_str(words)?,
            Program::Library(variant) => write!(formatter, "{}", variant.name())?,
        }
        match self.ending {
            Ending::Done => Ok(()),
            Ending::Timeout => formatter.write_str(" --timeout 1s"),
            Ending::Closed => formatter.write_str(" >closed pipe"),
            Ending::OneByte => formatter.write_str(" | head -c1"),
            Ending::Signal(signal) => write!(formatter, ", {}", signal_name(signal)),
            Ending::Twice(signal) => write!(formatter, ", {} twice", signal_name(signal)),
        }
    }
}

fn signal_name(signal: Signal) -> String {
    let names =
        [(Signal::HUP, "SIGHUP"), (Signal::INT, "SIGINT"), (Signal::KILL, "SIGKILL"), (Signal::TERM, "SIGTERM")];
    let name_entry = names.iter().find(|(known, _)| *known == signal);
    name_entry.map_or_else(|| format!("signal {}", signal.as_raw()), |(_, name)| (*name).to_owned())
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
