//! One provider call per expiry for all processes, and one more if the caller is killed.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Fleet, FleetConfig, PROCESSES, TASKS, assert_all_have, print_measurement, wait_for_candidates, wait_until,
};
use crate::redis_server::Redis;

/// Extra time for a busy machine.
const SLACK: Duration = Duration::from_secs(60);
/// The maximum pause between two polls of a lease.
const MAX_POLL_PAUSE: Duration = Duration::from_millis(160);

#[test]
fn eight_processes_make_one_call_per_expiry() {
    let Some(redis) = Redis::start() else { return };
    let mut fleet = Fleet::start(&redis.url(), FleetConfig::default());
    for round in 1..=3 {
        // No task receives a token before all processes have tried to acquire the lease.
        fleet.provider.hold(true);
        fleet.send(&format!("request {TASKS}"));
        wait_for_candidates(&redis, PROCESSES);
        fleet.provider.hold(false);
        let reports = fleet.reports();
        assert_all_have(&reports, &format!("token-{round}"));
        assert_eq!(reports.iter().map(|report| report.requests).sum::<u64>(), (PROCESSES * TASKS) as u64);
        assert_eq!(fleet.provider.count(), round);
        fleet.send_and_wait("advance 7200");
        // `wait_for_candidates` counts clients by their last command, so that command must not be a script.
        fleet.send_and_wait("probe");
    }
}

#[test]
fn old_token_is_returned_while_one_process_refreshes_it() {
    let Some(redis) = Redis::start() else { return };
    let mut fleet = Fleet::start(&redis.url(), FleetConfig::default());
    assert_all_have(&fleet.request_tokens(), "token-1");
    fleet.provider.hold(true);
    // Half a minute before expiry.
    fleet.send_and_wait("advance 3570");
    assert_all_have(&fleet.request_tokens(), "token-1");
    wait_for_candidates(&redis, PROCESSES);
    fleet.provider.wait_for(2);
    assert_all_have(&fleet.request_tokens(), "token-1");
    fleet.provider.hold(false);
    wait_until("all have the new token", || fleet.request_tokens().iter().all(|report| report.tokens == ["token-2"]));
    assert_eq!(fleet.provider.count(), 2);
}

#[test]
fn killed_leader_causes_one_more_call_after_one_lease_time() {
    let Some(redis) = Redis::start() else { return };
    let lease_time = Duration::from_secs(3);
    let mut fleet = Fleet::start(&redis.url(), FleetConfig { lease_time, ..FleetConfig::default() });
    fleet.provider.hold(true);
    fleet.send(&format!("request {TASKS}"));
    let start = Instant::now();
    fleet.provider.wait_for(1);
    wait_for_candidates(&redis, PROCESSES);
    fleet.kill_leader();
    let kill_time = start.elapsed();
    fleet.provider.wait_for(2);
    let second_call = Instant::now();
    fleet.provider.hold(false);
    let reports = fleet.reports();
    let call_time = second_call.elapsed();
    assert_eq!(fleet.provider.count(), 2);
    assert_all_have(&reports, "token-2");
    let longest_wait = reports.iter().map(|report| report.longest_wait).max().unwrap();
    print_measurement(&format!(
        "killed after {kill_time:?}, the slowest of {} tasks waited {longest_wait:?}",
        TASKS * (PROCESSES - 1)
    ));
    assert!(longest_wait <= kill_time + lease_time + call_time + MAX_POLL_PAUSE + SLACK, "{longest_wait:?}");
}
