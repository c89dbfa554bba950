//! Downloads while processes are killed and disks fail, and downloads of very many items.
//!
//! By default, this takes one or two minutes. `cargo xtask soak downloads` sets variables for a longer run.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may panic, and a measurement prints"
)]

mod fault;
mod faulty_processes;
#[path = "../support/harness.rs"]
mod harness;
mod memory;
#[path = "../support/needs.rs"]
mod needs;
mod platform;
mod program;
mod stores;
#[path = "../support/variables.rs"]
mod variables;

use std::env;

use fault::FaultKind;

/// The size of the test.
#[derive(Clone, Copy)]
struct Plan {
    bytes: u64,
    /// The number of faults of each kind.
    faults: [(FaultKind, usize); 5],
    /// The number of runs that are synchronized; `None` if one run is downloaded.
    runs: Option<usize>,
    /// The number of items of the memory test, or 0 to skip it.
    items: usize,
    seed: u64,
}

impl Plan {
    fn from_env() -> Self {
        let number = |name: &str, default| {
            env::var(format!("AIGNOSTICS_DOWNLOADS_{name}")).ok().map_or(default, |text| text.parse().unwrap())
        };
        let count = |name, default| usize::try_from(number(name, default)).unwrap();
        Self {
            bytes: number("MIB", 256) << 20,
            faults: [
                (FaultKind::Kill, count("KILLS", 20)),
                (FaultKind::InputOutput, count("IO_ERRORS", 20)),
                (FaultKind::FullDisk, count("FULL_DISKS", 6)),
                (FaultKind::Reset, 0),
                (FaultKind::Unavailable, 0),
            ],
            runs: None,
            items: count("ITEMS", 10_000),
            seed: number("SEED", 51),
        }
    }

    fn kills(&self) -> usize {
        self.faults.iter().filter(|(kind, _)| *kind == FaultKind::Kill).map(|(_, count)| count).sum()
    }

    /// Returns the plan for a folder that is synchronized with several runs. It has an eighth of the bytes, about half
    /// of the faults, and also network faults.
    fn for_sync(&self) -> Self {
        let count = |selected_kind: FaultKind| {
            self.faults.iter().find(|(kind, _)| *kind == selected_kind).map_or(0, |(_, count)| *count)
        };
        let kills = count(FaultKind::Kill);
        let faults = [
            (FaultKind::Kill, kills / 2),
            (FaultKind::InputOutput, count(FaultKind::InputOutput) / 3),
            (FaultKind::FullDisk, count(FaultKind::FullDisk) / 2),
            (FaultKind::Reset, kills / 4),
            (FaultKind::Unavailable, kills / 4),
        ];
        Self { bytes: self.bytes / 8, faults, runs: Some(3), items: 0, seed: self.seed }
    }
}

fn main() {
    if program::is_child_process() {
        return program::run();
    }
    if !harness::is_wanted("downloads") {
        return;
    }
    let plan = Plan::from_env();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        faulty_processes::soak(&plan).await;
        faulty_processes::soak(&plan.for_sync()).await;
        // Fewer kills, because each kill discards the small files in transfer.
        stores::soak(plan.bytes / 4, plan.kills() / 2, plan.seed, false).await;
        stores::soak(plan.bytes / 4, plan.kills() / 4, plan.seed, true).await;
        if plan.items > 0 {
            memory::measure(plan.items).await;
        }
    });
}
