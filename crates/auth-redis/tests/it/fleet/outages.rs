//! Redis outages and hangs while a fleet works.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fleet, FleetConfig, PROCESSES, Report, assert_all_have, print_measurement, wait_until};
use crate::redis_server::Redis;

/// The duration of the outage.
const OUTAGE: Duration = Duration::from_secs(10);

/// Keeps a fleet under load during an outage. Returns the reports and the time until all workers have reconnected.
fn run_under_load(
    fleet: &mut Fleet,
    duration: Duration,
    start_outage: impl FnOnce(),
    end_outage: impl FnOnce(),
) -> (Vec<Report>, Duration) {
    assert_all_have(&fleet.request_tokens(), "token-1");
    fleet.send_and_wait("load");
    let outage_start = Instant::now();
    start_outage();
    sleep(duration);
    end_outage();
    wait_until("all workers have reconnected", || {
        fleet.send_and_wait("probe").iter().all(|response| response == "available")
    });
    let outage_time = outage_start.elapsed();
    fleet.send("stop_load");
    (fleet.reports(), outage_time)
}

#[test]
fn redis_outage_of_ten_seconds_fails_no_request() {
    let Some(mut redis) = Redis::start() else { return };
    let config = FleetConfig { total_timeout: Duration::from_secs(5), ..FleetConfig::default() };
    let mut fleet = Fleet::start(&redis.url(), config);
    let redis = std::cell::RefCell::new(&mut redis);
    let (reports, outage) =
        run_under_load(&mut fleet, OUTAGE, || redis.borrow_mut().kill(), || redis.borrow_mut().restart());
    let (requests, failures) = totals(&reports);
    let calls = fleet.provider.count();
    print_measurement(&format!(
        "{requests} requests of {PROCESSES} processes, {failures} failed, {calls} calls of the provider"
    ));
    assert_eq!(failures, 0, "{reports:?}");
    // Each process makes one call per lifetime of a local copy during the outage, and one more. The first call is
    // extra.
    let calls_per_process = outage.as_secs().div_ceil(config.local_copy.as_secs()) + 1;
    assert!(calls as u64 <= PROCESSES as u64 * calls_per_process + 2, "{calls} calls");
}

#[test]
fn hanging_redis_delays_requests_only_up_to_the_limit() {
    let Some(redis) = Redis::start() else { return };
    // Local copies expire so quickly that the workers need Redis all the time. The provider is fast.
    let local_copy = Duration::from_millis(100);
    let config = FleetConfig { total_timeout: Duration::from_secs(3), local_copy, ..FleetConfig::default() };
    let mut fleet = Fleet::start(&redis.url(), config);
    let outage = config.total_timeout * 4;
    let (reports, _) = run_under_load(&mut fleet, outage, || redis.stop(), || redis.resume());
    let (requests, failures) = totals(&reports);
    let longest_wait = reports.iter().map(|report| report.longest_wait).max().unwrap();
    print_measurement(&format!(
        "{requests} requests of {PROCESSES} processes, {failures} failed, the slowest took {longest_wait:?}"
    ));
    assert_eq!(failures, 0, "{reports:?}");
    // The expected wait is at most a quarter of the outage. The rest is extra time for a busy machine.
    assert!(longest_wait < outage, "{longest_wait:?}");
}

/// Sleeps, because the duration of the outage is the subject of the test.
#[expect(clippy::disallowed_methods, reason = "the duration of the outage is the subject of the test")]
fn sleep(time: Duration) {
    std::thread::sleep(time);
}

fn totals(reports: &[Report]) -> (u64, u64) {
    let sum = |number: fn(&Report) -> u64| reports.iter().map(number).sum();
    (sum(|report| report.requests), sum(|report| report.failures))
}
