//! The cost of a cached response, and of a long list: `cargo xtask bench resources`.
//!
//! The variants to compare alternate within a round. The medians of all rounds are printed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may panic, and prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use auth_core::async_provider_fn;
use futures_util::{FutureExt, TryStreamExt};
use platform_resources::models::{Me, Run};
use platform_resources::operations::ListRuns;
use platform_resources::{Client, Settings};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// The number of rounds of the benchmark of cached responses.
const ROUNDS: usize = 21;
/// The number of calls in a round of the benchmark of cached responses.
const CALLS_PER_ROUND: u32 = 20_000;
/// The number of runs in the list.
const RUNS: usize = 10_000;
/// The number of runs in a page.
const PAGE_SIZE: usize = 100;
/// The latency of a response.
const LATENCY: Duration = Duration::from_millis(20);
/// The number of rounds of the benchmark of lists.
const LIST_ROUNDS: usize = 5;

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(start_platform());
    let client = client(&server);
    bench_cached_response(&runtime, &client);
    bench_list(&runtime, &client);
}

fn bench_cached_response(runtime: &Runtime, client: &Client) {
    let me = runtime.block_on(client.me()).unwrap();
    let call = || drop(black_box(client.me().now_or_never().unwrap().unwrap()));
    let copy = || drop(black_box(me.clone()));
    println!("{ROUNDS} rounds of {CALLS_PER_ROUND} calls of `me()` with a cached response");
    // The token source must run in the context of a runtime.
    let _runtime_guard = runtime.enter();
    let nanoseconds_per_call = |work: &dyn Fn()| {
        measure_seconds(|| (0..CALLS_PER_ROUND).for_each(|_| work())) / f64::from(CALLS_PER_ROUND) * 1e9
    };
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (nanoseconds_per_call(&call), nanoseconds_per_call(&copy))).collect();
    println!("  a call         {:6.0} ns", median(rounds.iter().map(|round| round.0)));
    println!("  a copy of it   {:6.0} ns", median(rounds.iter().map(|round| round.1)));
    let allocations_per_call =
        |work: &dyn Fn()| allocation_counter::measure(|| (0..1000).for_each(|_| work())).count_total / 1000;
    println!("  allocations of a call {}, of a copy {}", allocations_per_call(&call), allocations_per_call(&copy));
}

fn bench_list(runtime: &Runtime, client: &Client) {
    println!(
        "\n{RUNS} runs in pages of {PAGE_SIZE}, with a latency of {} ms per page; {LIST_ROUNDS} rounds",
        LATENCY.as_millis()
    );
    let page_size = i64::try_from(PAGE_SIZE).unwrap();
    let prefetched = || {
        let runs = client.clone().no_cache().runs().list_with(ListRuns::new().with_page_size(page_size));
        let runs: Vec<Run> = runtime.block_on(runs.try_collect()).unwrap();
        assert_eq!(runs.len(), RUNS);
    };
    let one_by_one = || {
        let mut runs = Vec::new();
        // Each page is requested after the previous one has arrived.
        for page in 1.. {
            let page_runs = runtime.block_on(page_of(client, page));
            let is_last = page_runs.len() < PAGE_SIZE;
            runs.extend(page_runs);
            if is_last {
                break;
            }
        }
        assert_eq!(runs.len(), RUNS);
    };
    let rounds: Vec<_> = (0..LIST_ROUNDS).map(|_| (measure_seconds(one_by_one), measure_seconds(prefetched))).collect();
    println!("  page by page    {:6.2} s", median(rounds.iter().map(|round| round.0)));
    println!("  prefetched      {:6.2} s", median(rounds.iter().map(|round| round.1)));
    println!("  ratio           {:6.2}", median(rounds.iter().map(|round| round.1 / round.0)));
}

/// Requests one page with the same HTTP client.
async fn page_of(client: &Client, page: usize) -> Vec<Run> {
    let query =
        ListRuns::new().with_page(i64::try_from(page).unwrap()).with_page_size(i64::try_from(PAGE_SIZE).unwrap());
    client.api().send(&query).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn measure_seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn client(server: &MockServer) -> Client {
    let settings = Settings::at(&server.uri().parse().unwrap()).unwrap();
    let token = "x".repeat(1200);
    let provider = async_provider_fn(move |_| {
        let token = token.clone();
        async move { Ok(token) }
    });
    Client::builder(settings).with_token_provider(provider).build().unwrap()
}

async fn start_platform() -> MockServer {
    let server = MockServer::start().await;
    let pages: Vec<String> = (0..=RUNS / PAGE_SIZE).map(|page| runs_page(page).to_string()).collect();
    let response = move |request: &Request| {
        let page =
            request.url.query_pairs().find(|(name, _)| name == "page").map_or(1, |(_, page)| page.parse().unwrap());
        match pages.get(page - 1) {
            Some(page) => ResponseTemplate::new(200).set_body_raw(page.clone(), "application/json"),
            None => ResponseTemplate::new(404),
        }
        .set_delay(LATENCY)
    };
    Mock::given(path("/api/v1/runs")).respond_with(response).mount(&server).await;
    let me: Value = json!({
        "user": { "id": "auth0|1", "email": "ada@lab.test", "name": "Ada" },
        "organization": {
            "id": "org_1", "name": "lab", "aignostics_bucket_name": "bucket", "aignostics_bucket_protocol": "gs",
            "aignostics_bucket_hmac_access_key_id": "key", "aignostics_bucket_hmac_secret_access_key": "secret",
            "aignostics_logfire_token": "token", "aignostics_sentry_dsn": "dsn",
        },
    });
    serde_json::from_value::<Me>(me.clone()).unwrap();
    Mock::given(path("/api/v1/me")).respond_with(ResponseTemplate::new(200).set_body_json(me)).mount(&server).await;
    server
}

fn runs_page(page: usize) -> Value {
    let count = if page == RUNS / PAGE_SIZE { 0 } else { PAGE_SIZE };
    let run = |number: usize| {
        json!({
            "run_id": format!("{:032x}", page * PAGE_SIZE + number), "application_id": "he-tme", "version_number": "1.0.0",
            "state": "TERMINATED", "output": "FULL", "termination_reason": "ALL_ITEMS_PROCESSED",
            "submitted_at": "2026-01-01T00:00:00Z", "submitted_by": "auth0|1", "custom_metadata": { "study": "a" },
            "statistics": {
                "item_count": 1, "item_pending_count": 0, "item_processing_count": 0, "item_user_error_count": 0,
                "item_system_error_count": 0, "item_skipped_count": 0, "item_succeeded_count": 1,
            },
        })
    };
    (0..count).map(run).collect()
}
