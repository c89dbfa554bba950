//! A token that all tasks hold and a server rejects.

use super::{Fleet, PROCESSES, Setting, all_have, worker};
use crate::redis_server::Redis;

#[test]
fn ten_thousand_rejections_of_one_token_lead_to_one_call() {
    if worker::is_worker() {
        return;
    }
    let Some(redis) = Redis::start() else { return };
    let mut fleet = Fleet::start(&redis.url(), Setting::default());
    all_have(&fleet.ask(), "token-1");
    let each = 10_000 / PROCESSES;
    fleet.say(&format!("reject {each}"));
    let reports = fleet.reports();
    all_have(&reports, "token-2");
    assert_eq!(reports.iter().map(|report| report.requests).sum::<u64>(), 10_000);
    assert_eq!(fleet.provider.count(), 2);
}
