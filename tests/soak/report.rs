//! The results of all commands.

use std::collections::BTreeMap;
use std::fmt;

use crate::attempt::Ended;
use crate::emulator::ResponseCounts;
use crate::kind::Exit;

#[derive(Default)]
pub(crate) struct Report {
    /// The numbers of commands by kind and exit.
    kinds: BTreeMap<String, BTreeMap<Exit, usize>>,
    responses: ResponseCounts,
    losses: Vec<String>,
    /// The losses after a SIGKILL, which no process can prevent.
    killed: Vec<String>,
    /// The unexpected ends.
    pub(crate) unexplained: Vec<String>,
}

impl Report {
    pub(crate) fn add_command(&mut self, ended: &Ended) {
        *self.kinds.entry(ended.kind.to_string()).or_default().entry(ended.exit).or_default() += 1;
    }

    pub(crate) fn add_responses(&mut self, responses: &ResponseCounts) {
        self.responses.good += responses.good;
        self.responses.refused += responses.refused;
        self.responses.abandoned += responses.abandoned;
    }

    pub(crate) fn add_loss(&mut self, all: &[Ended], loss: String) {
        let is_killed = all.iter().any(|ended| ended.exit.is_kill() && ended.renewed);
        if is_killed { &mut self.killed } else { &mut self.losses }.push(loss);
    }

    pub(crate) fn with(mut self, other: Self) -> Self {
        for (kind, exits) in other.kinds {
            let known = self.kinds.entry(kind).or_default();
            for (exit, count) in exits {
                *known.entry(exit).or_default() += count;
            }
        }
        self.add_responses(&other.responses);
        self.losses.extend(other.losses);
        self.killed.extend(other.killed);
        self.unexplained.extend(other.unexplained);
        self
    }

    pub(crate) fn is_good(&self) -> bool {
        self.losses.is_empty() && self.unexplained.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, lines) in
            [("lost", &self.losses), ("lost after SIGKILL", &self.killed), ("unexplained", &self.unexplained)]
        {
            lines.iter().try_for_each(|line| writeln!(formatter, "{name}: {line}"))?;
        }
        writeln!(formatter, "\n{:30} {:>8}  exit codes", "command", "commands")?;
        for (kind, exits) in &self.kinds {
            let total: usize = exits.values().sum();
            let exits: Vec<_> = exits.iter().map(|(exit, count)| format!("{exit} ({count})")).collect();
            writeln!(formatter, "{kind:30} {total:>8}  {}", exits.join(", "))?;
        }
        let ResponseCounts { good, refused, abandoned } = self.responses;
        writeln!(formatter, "\nrefreshes by commands: {good}; refused: {refused}; given up before: {abandoned}")?;
        writeln!(formatter, "logins lost: {}; after SIGKILL: {}", self.losses.len(), self.killed.len())?;
        write!(formatter, "unexplained ends: {}", self.unexplained.len())
    }
}
