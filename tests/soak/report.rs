//! The results of all commands.

use std::collections::BTreeMap;
use std::fmt;

use crate::attempt::EndedCommand;
use crate::emulator::ResponseCounts;
use crate::kind::Exit;

#[derive(Default)]
pub(crate) struct Report {
    /// The numbers of commands by kind and exit.
    kinds: BTreeMap<String, BTreeMap<Exit, usize>>,
    responses: ResponseCounts,
    losses: Vec<String>,
    /// The losses after a SIGKILL, which a process cannot prevent.
    losses_after_kill: Vec<String>,
    /// The unexpected ends.
    pub(crate) unexpected_ends: Vec<String>,
}

impl Report {
    pub(crate) fn add_command(&mut self, ended: &EndedCommand) {
        *self.kinds.entry(ended.kind.to_string()).or_default().entry(ended.exit).or_default() += 1;
    }

    pub(crate) fn add_responses(&mut self, responses: &ResponseCounts) {
        self.responses.successful += responses.successful;
        self.responses.refused += responses.refused;
        self.responses.abandoned += responses.abandoned;
    }

    pub(crate) fn add_loss(&mut self, all: &[EndedCommand], loss: String) {
        let is_killed = all.iter().any(|ended| ended.exit.is_kill() && ended.has_refreshed);
        if is_killed { &mut self.losses_after_kill } else { &mut self.losses }.push(loss);
    }

    pub(crate) fn merged_with(mut self, other: Self) -> Self {
        for (kind, exits) in other.kinds {
            let known = self.kinds.entry(kind).or_default();
            for (exit, count) in exits {
                *known.entry(exit).or_default() += count;
            }
        }
        self.add_responses(&other.responses);
        self.losses.extend(other.losses);
        self.losses_after_kill.extend(other.losses_after_kill);
        self.unexpected_ends.extend(other.unexpected_ends);
        self
    }

    pub(crate) fn is_successful(&self) -> bool {
        self.losses.is_empty() && self.unexpected_ends.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, lines) in [
            ("lost", &self.losses),
            ("lost after SIGKILL", &self.losses_after_kill),
            ("unexplained", &self.unexpected_ends),
        ] {
            lines.iter().try_for_each(|line| writeln!(formatter, "{name}: {line}"))?;
        }
        writeln!(formatter, "\n{:30} {:>8}  exit codes", "command", "commands")?;
        for (kind, exits) in &self.kinds {
            let total: usize = exits.values().sum();
            let exits: Vec<_> = exits.iter().map(|(exit, count)| format!("{exit} ({count})")).collect();
            writeln!(formatter, "{kind:30} {total:>8}  {}", exits.join(", "))?;
        }
        let ResponseCounts { successful, refused, abandoned } = self.responses;
        writeln!(formatter, "\nrefreshes by commands: {successful}; refused: {refused}; given up before: {abandoned}")?;
        writeln!(formatter, "logins lost: {}; after SIGKILL: {}", self.losses.len(), self.losses_after_kill.len())?;
        write!(formatter, "unexplained ends: {}", self.unexpected_ends.len())
    }
}
