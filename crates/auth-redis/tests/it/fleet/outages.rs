//! Redis outages and hangs while a fleet works.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fleet, FleetConfig, PROCESSES, Report, assert_all_have, print_measurement, until};
use crate::redis_server::Redis;

/// The duration of the outage.
const OUTAGE: Duration = Duration::from_secs(10);

/// Keeps a fleet under load during an outage. Returns the reports and the duration of the outage.
fn run_under_load(
    fleet: &mut Fleet,
    time: Duration,
    break_it: impl FnOnce(),
    mend_it: impl FnOnce(),
) -> (Vec<Report>, Duration) {
    assert_all_have(&fleet.request_tokens(), "token-1");
    fleet.send_and_wait("load");
    let broken = Instant::now();
    break_it();
    sleep(time);
    mend_it();
    until("Redis is found again", || fleet.send_and_wait("look").iter().all(|response| response == "there"));
    let took = broken.elapsed();
    fleet.send("rest");
    (fleet.reports(), took)
}

#[test]
fn redis_outage_of_ten_seconds_fails_no_request() {
    let Some(mut redis) = Redis::start() else { return };
    let config = FleetConfig { delay: Duration::from_secs(5), ..FleetConfig::default() };
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
    // Each process makes one call per local copy lifetime in the outage, and one at its edges. The first call is extra.
    let copies = outage.as_secs().div_ceil(config.local_copy.as_secs()) + 1;
    assert!(calls as u64 <= PROCESSES as u64 * copies + 2, "{calls} calls");
}

#[test]
fn hanging_redis_delays_requests_only_up_to_the_limit() {
    let Some(redis) = Redis::start() else { return };
    // The short local copy lifetime makes Redis necessary all the time. The provider is fast.
    let local_copy = Duration::from_millis(100);
    let config = FleetConfig { delay: Duration::from_secs(3), local_copy, ..FleetConfig::default() };
    let mut fleet = Fleet::start(&redis.url(), config);
    let outage = config.delay * 4;
    let (reports, _) = run_under_load(&mut fleet, outage, || redis.stop(), || redis.resume());
    let (requests, failures) = totals(&reports);
    let longest = reports.iter().map(|report| report.longest).max().unwrap();
    print_measurement(&format!(
        "{requests} requests of {PROCESSES} processes, {failures} failed, the slowest took {longest:?}"
    ));
    assert_eq!(failures, 0, "{reports:?}");
    // The bound is a quarter of the outage. The rest is slack for a busy machine.
    assert!(longest < outage, "{longest:?}");
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
