//! Downloads files through outages of the API, the storage and the identity provider. No file may fail.
//!
//! Without variables, all times and limits are divided by 60, and most cases have 200 files. `cargo xtask soak outages`
//! sets them to their real values. `docs/reliability.md` has the table.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and a measurement prints")]

mod cell;
#[path = "../support/harness.rs"]
mod harness;
mod outage;
mod platform;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use cell::{OutageCase, Outcome};
use outage::{OutageKind, PlatformPart};

/// The durations of outages.
const OUTAGES: [Duration; 3] = [Duration::from_secs(6), Duration::from_secs(60), Duration::from_secs(600)];

/// The size of the test.
#[derive(Clone, Copy)]
struct Plan {
    /// All times and limits are divided by this number.
    divisor: u32,
    /// The number of files, if it is the same in all cases.
    files: Option<usize>,
    /// The number of concurrent cases. It can be high, because a case spends most of its time waiting.
    parallel: usize,
}

impl Plan {
    fn for_current_process() -> Self {
        let number = |name, default| env::var(name).ok().map_or(default, |text| text.parse().unwrap());
        Self {
            divisor: u32::try_from(number("AIGNOSTICS_OUTAGES_DIVISOR", 60)).unwrap(),
            files: env::var("AIGNOSTICS_OUTAGES_FILES").ok().map(|text| text.parse().unwrap()),
            parallel: number("AIGNOSTICS_OUTAGES_PARALLEL", 4),
        }
    }

    /// Returns a scaled time or limit.
    fn scaled(&self, time: Duration) -> Duration {
        time / self.divisor
    }
}

fn main() -> ExitCode {
    if !harness::is_wanted("outages") {
        return ExitCode::SUCCESS;
    }
    let plan = Plan::for_current_process();
    println!("times divided by {}", plan.divisor);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = Instant::now();
    let outcomes: Vec<Outcome> = runtime.block_on(async {
        let cases = cases().map(|case| async move {
            let outcome = case.run(plan).await;
            println!("{outcome}");
            outcome
        });
        stream::iter(cases).buffer_unordered(plan.parallel).collect().await
    });
    let failed = outcomes.iter().filter(|outcome| !outcome.is_successful()).count();
    println!("{} cases in {:.0} s, {failed} failed", outcomes.len(), start.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns all outages, the long ones first.
fn cases() -> impl Iterator<Item = OutageCase> {
    let parts = [PlatformPart::Api, PlatformPart::Storage, PlatformPart::Identity];
    let kinds = [OutageKind::Unavailable, OutageKind::Reset, OutageKind::Stall, OutageKind::NoName];
    OUTAGES.into_iter().rev().flat_map(move |duration| {
        parts.into_iter().flat_map(move |part| kinds.into_iter().map(move |kind| OutageCase { part, kind, duration }))
    })
}
