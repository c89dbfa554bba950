//! One provider call for all processes, even if the caller is killed.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fleet, FleetConfig, PROCESSES, TASKS, assert_all_have, print_measurement, until, wait_for_candidates};
use crate::redis_server::Redis;

/// Slack for a busy machine.
const SLACK: Duration = Duration::from_secs(60);
/// The maximum pause between two polls of a lease.
const POLL: Duration = Duration::from_millis(160);

#[test]
fn eight_processes_make_one_call_per_expiry() {
    let Some(redis) = Redis::start() else { return };
    let mut fleet = Fleet::start(&redis.url(), FleetConfig::default());
    for round in 1..=3 {
        // No task gets a token before all have tried to acquire the lease.
        fleet.provider.hold(true);
        fleet.send(&format!("ask {TASKS}"));
        wait_for_candidates(&redis, PROCESSES);
        fleet.provider.hold(false);
        let reports = fleet.reports();
        assert_all_have(&reports, &format!("token-{round}"));
        assert_eq!(reports.iter().map(|report| report.requests).sum::<u64>(), (PROCESSES * TASKS) as u64);
        assert_eq!(fleet.provider.count(), round);
        fleet.send_and_wait("advance 7200");
        // A connection is identified by its last command.
        fleet.send_and_wait("look");
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
    until("all have the new token", || fleet.request_tokens().iter().all(|report| report.tokens == ["token-2"]));
    assert_eq!(fleet.provider.count(), 2);
}

#[test]
fn killed_leader_causes_one_more_call_after_one_lease_time() {
    let Some(redis) = Redis::start() else { return };
    let lease = Duration::from_secs(3);
    let mut fleet = Fleet::start(&redis.url(), FleetConfig { lease, ..FleetConfig::default() });
    fleet.provider.hold(true);
    fleet.send(&format!("ask {TASKS}"));
    let start = Instant::now();
    fleet.provider.wait_for(1);
    wait_for_candidates(&redis, PROCESSES);
    fleet.kill_leader();
    let until_killed = start.elapsed();
    fleet.provider.wait_for(2);
    let called = Instant::now();
    fleet.provider.hold(false);
    let reports = fleet.reports();
    let call = called.elapsed();
    assert_eq!(fleet.provider.count(), 2);
    assert_all_have(&reports, "token-2");
    let longest = reports.iter().map(|report| report.longest).max().unwrap();
    print_measurement(&format!(
        "killed after {until_killed:?}, the slowest of {} tasks waited {longest:?}",
        TASKS * (PROCESSES - 1)
    ));
    assert!(longest <= until_killed + lease + call + POLL + SLACK, "{longest:?}");
}
