//! Redis outages and hangs while a fleet works.

use std::time::Duration;

use tokio::time::Instant;

use super::{Fleet, PROCESSES, Report, Setting, all_have, show, until};
use crate::redis_server::Redis;

/// The duration of the outage.
const OUTAGE: Duration = Duration::from_secs(10);

/// Keeps a fleet under load during an outage. Returns the reports and the duration of the outage.
fn under_load(
    fleet: &mut Fleet,
    time: Duration,
    break_it: impl FnOnce(),
    mend_it: impl FnOnce(),
) -> (Vec<Report>, Duration) {
    all_have(&fleet.ask(), "token-1");
    fleet.tell("load");
    let broken = Instant::now();
    break_it();
    last(time);
    mend_it();
    until("Redis is found again", || fleet.tell("look").iter().all(|answer| answer == "there"));
    let took = broken.elapsed();
    fleet.say("rest");
    (fleet.reports(), took)
}

#[test]
fn redis_outage_of_ten_seconds_fails_no_request() {
    let Some(mut redis) = Redis::start() else { return };
    let setting = Setting { delay: Duration::from_secs(5), ..Setting::default() };
    let mut fleet = Fleet::start(&redis.url(), setting);
    let redis = std::cell::RefCell::new(&mut redis);
    let (reports, outage) =
        under_load(&mut fleet, OUTAGE, || redis.borrow_mut().kill(), || redis.borrow_mut().restart());
    let (requests, failures) = totals(&reports);
    let calls = fleet.provider.count();
    show(&format!("{requests} requests of {PROCESSES} processes, {failures} failed, {calls} calls of the provider"));
    assert_eq!(failures, 0, "{reports:?}");
    // Each process makes one call per local copy lifetime in the outage, and one at its edges. The first call is extra.
    let copies = outage.as_secs().div_ceil(setting.local_copy.as_secs()) + 1;
    assert!(calls as u64 <= PROCESSES as u64 * copies + 2, "{calls} calls");
}

#[test]
fn hanging_redis_delays_requests_only_up_to_the_limit() {
    let Some(redis) = Redis::start() else { return };
    // The short local copy lifetime makes Redis necessary all the time. The provider is fast.
    let local_copy = Duration::from_millis(100);
    let setting = Setting { delay: Duration::from_secs(3), local_copy, ..Setting::default() };
    let mut fleet = Fleet::start(&redis.url(), setting);
    let outage = setting.delay * 4;
    let (reports, _) = under_load(&mut fleet, outage, || redis.stop(), || redis.go_on());
    let (requests, failures) = totals(&reports);
    let longest = reports.iter().map(|report| report.longest).max().unwrap();
    show(&format!("{requests} requests of {PROCESSES} processes, {failures} failed, the slowest took {longest:?}"));
    assert_eq!(failures, 0, "{reports:?}");
    // The bound is a quarter of the outage. The rest is slack for a busy machine.
    assert!(longest < outage, "{longest:?}");
}

/// Sleeps, because the duration of the outage is the subject of the test.
#[expect(clippy::disallowed_methods, reason = "an outage of a certain length takes that long")]
fn last(time: Duration) {
    std::thread::sleep(time);
}

fn totals(reports: &[Report]) -> (u64, u64) {
    let sum = |number: fn(&Report) -> u64| reports.iter().map(number).sum();
    (sum(|report| report.requests), sum(|report| report.failures))
}
