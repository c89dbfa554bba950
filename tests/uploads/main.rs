//! Uploads in parts while processes are killed and the storage fails.
//!
//! Without variables, this takes about a minute. `cargo xtask soak uploads` sets variables for a longer run.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and a measurement prints")]

#[path = "../support/harness.rs"]
mod harness;
mod lab;
#[path = "../support/variables.rs"]
mod variables;

use std::env;

use fastrand::Rng;
use lab::Lab;

/// The maximum number of parts that a process sends concurrently.
const IN_FLIGHT: usize = 12;

/// The size of the test.
struct Plan {
    files: usize,
    bytes_per_file: usize,
    kills: usize,
    seed: u64,
}

impl Plan {
    fn for_current_process() -> Self {
        let number = |name: &str, default: u64| {
            env::var(format!("AIGNOSTICS_UPLOADS_{name}")).ok().map_or(default, |text| text.parse().unwrap())
        };
        let count = |name, default| usize::try_from(number(name, default)).unwrap();
        Self {
            files: count("FILES", 1),
            bytes_per_file: count("MIB", 256) << 20,
            kills: count("KILLS", 6),
            seed: number("SEED", 28),
        }
    }
}

fn main() {
    if harness::is_wanted("uploads") {
        tokio::runtime::Runtime::new().unwrap().block_on(soak(&Plan::for_current_process()));
    }
}

/// Kills processes during uploads, each at another point and with another fault. The last process finishes the uploads.
async fn soak(plan: &Plan) {
    let mut random = Rng::with_seed(plan.seed);
    let lab = Lab::start(plan.files, plan.bytes_per_file, &mut random).await;
    let (parts, mut failed_requests) = (lab.parts(), 0);
    for kill in 1..=plan.kills {
        failed_requests += lab.fail_some(&mut random).await;
        // Every process makes progress, and some parts are left for the last one.
        let target = (parts * kill / (plan.kills + 1)).max(lab.confirmed().await + 1);
        if !lab.kill_after(target, random.u64(0..50)).await {
            break;
        }
        lab.assert_no_wrong_object().await;
    }
    lab.control.clear_faults().await.unwrap();
    lab.finish().await;
    lab.assert_all_objects().await;
    let sent = lab.part_requests().await;
    let max_sent = parts + plan.kills * IN_FLIGHT + failed_requests;
    let unfinished = lab.unfinished().await;
    println!("{} kills, {parts} parts: {sent} were sent, at most {max_sent} are allowed", plan.kills);
    println!("{unfinished} uploads were started, and their ids were not recorded");
    assert!(unfinished <= plan.kills.div_ceil(10), "{unfinished} uploads are left");
    assert!(sent <= max_sent, "more than one part per worker and kill was sent twice");
}
