//! Runs hundreds of commands that end in every way while a login is refreshed. No login may be lost.
//!
//! Without variables, it is a test of less than a minute. `cargo xtask soak logins` sets them and runs more commands.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and a measurement prints")]

#[path = "../support/aging.rs"]
mod aging;
mod attempt;
mod emulator;
#[path = "../support/harness.rs"]
mod harness;
mod kind;
mod program;
mod report;
mod round;
mod user;
#[path = "../support/variables.rs"]
mod variables;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use futures_util::future::join_all;

use report::Report;
use round::{PARALLEL, Round};
use user::User;

/// The number of users. Each has a separate emulator.
const USERS: usize = 4;

/// The size of the soak.
struct Plan {
    commands: usize,
    seed: u64,
    /// True if SIGKILL is sent, too. A login may be lost after it.
    kills: bool,
    binary: PathBuf,
}

impl Plan {
    fn for_current_process() -> Self {
        let number = |name| env::var(name).ok().map(|text| text.parse().unwrap());
        let binary = env::var_os("AIGNOSTICS_SOAK_BINARY").map(PathBuf::from);
        Self {
            commands: number("AIGNOSTICS_SOAK_COMMANDS").map_or(200, |number: u64| usize::try_from(number).unwrap()),
            seed: number("AIGNOSTICS_SOAK_SEED").unwrap_or(46),
            kills: env::var_os("AIGNOSTICS_SOAK_SIGKILL").is_some(),
            binary: binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_aignostics").into()),
        }
    }
}

fn main() -> ExitCode {
    if let Some(variant) = program::requested_variant() {
        return program::run(variant);
    }
    if !harness::is_wanted("soak") {
        return ExitCode::SUCCESS;
    }
    let plan = Plan::for_current_process();
    println!("{} commands, seed {}, {}", plan.commands, plan.seed, plan.binary.display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let reports = runtime.block_on(join_all((0..USERS).map(|user| soak(&plan, user))));
    let report = reports.into_iter().fold(Report::default(), Report::merged_with);
    println!("{report}");
    if report.is_successful() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the commands of one user, in rounds of concurrent commands.
async fn soak(plan: &Plan, number: usize) -> Report {
    let mut random = fastrand::Rng::with_seed(plan.seed.wrapping_mul(31).wrapping_add(number as u64));
    let mut report = Report::default();
    let user = User::start(number, &plan.binary).await;
    user.log_in().await;
    let mut left = plan.commands / USERS + usize::from(number < plan.commands % USERS);
    while left > 0 {
        let round = Round::draw(&mut random, PARALLEL.min(left), plan.kills);
        left -= round.size();
        round.run(&user, &mut report).await;
    }
    for arguments in [&["auth", "token"][..], &["user", "whoami"]] {
        let ended = user.run(arguments).await;
        if ended.code != Some(0) {
            report.unexpected_ends.push(format!("user {number}, at the end: {arguments:?}: {}", ended.stderr));
        }
    }
    report
}
