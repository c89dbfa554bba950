//! Downloads while processes are killed and disks fail, and downloads of very many items.
//!
//! Without variables it is a test of a minute or two; `cargo xtask soak downloads` sets them and does more.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may panic, and a measurement prints"
)]

mod fault;
#[path = "../support/harness.rs"]
mod harness;
mod items;
mod lives;
#[path = "../support/needs.rs"]
mod needs;
mod platform;
mod program;
#[path = "../support/variables.rs"]
mod variables;

use std::env;

use fault::Kind;

/// The size of the test.
#[derive(Clone, Copy)]
struct Plan {
    bytes: u64,
    /// The number of faults of each kind.
    faults: [(Kind, usize); 3],
    /// The number of items of the other download, none for no such download.
    items: usize,
    seed: u64,
}

impl Plan {
    fn of_this_process() -> Self {
        let number = |name: &str, default| {
            env::var(format!("AIGNOSTICS_DOWNLOADS_{name}")).ok().map_or(default, |text| text.parse().unwrap())
        };
        let count = |name, default| usize::try_from(number(name, default)).unwrap();
        Self {
            bytes: number("MIB", 256) << 20,
            faults: [
                (Kind::Kill, count("KILLS", 20)),
                (Kind::InputOutput, count("IO_ERRORS", 20)),
                (Kind::Full, count("FULL_DISKS", 6)),
            ],
            items: count("ITEMS", 10_000),
            seed: number("SEED", 51),
        }
    }
}

fn main() {
    if program::is_wanted() {
        return program::run();
    }
    if !harness::is_wanted("downloads") {
        return;
    }
    let plan = Plan::of_this_process();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        lives::soak(&plan).await;
        if plan.items > 0 {
            items::measure(plan.items).await;
        }
    });
}
