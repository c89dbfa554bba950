//! Rejection of a token that all tasks use.

use super::{Fleet, FleetConfig, PROCESSES, assert_all_have, worker};
use crate::redis_server::Redis;

#[test]
fn ten_thousand_rejections_of_one_token_lead_to_one_call() {
    if worker::run_if_worker() {
        return;
    }
    let Some(redis) = Redis::start() else { return };
    let mut fleet = Fleet::start(&redis.url(), FleetConfig::default());
    assert_all_have(&fleet.request_tokens(), "token-1");
    let rejections_per_process = 10_000 / PROCESSES;
    fleet.send(&format!("reject {rejections_per_process}"));
    let reports = fleet.reports();
    assert_all_have(&reports, "token-2");
    assert_eq!(reports.iter().map(|report| report.requests).sum::<u64>(), 10_000);
    assert_eq!(fleet.provider.count(), 2);
}
