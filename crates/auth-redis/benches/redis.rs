//! Latency and throughput of tokens cached in Redis: `cargo xtask bench redis`.
//!
//! A cache hit is compared with a plain `HGET` of the same value, over the same kind of connection to the same server.
//! Rounds alternate between the two, so that other load on the machine affects both.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may panic, and prints")]

#[path = "../../../tests/support/needs.rs"]
mod needs;
#[expect(dead_code, reason = "the benchmark only starts the server")]
#[path = "../../../tests/support/redis.rs"]
mod redis_server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth_core::{AccessToken, Clock, Secret, SystemClock, TokenError, TokenKey, TokenSource, async_provider_fn};
use auth_redis::{RedisTokenCache, SealingKey};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo};
use redis_server::Redis;
use tokio::runtime::Builder;
use url::Url;

const ROUNDS: usize = 200;
/// The number of sequential calls of each kind in a round.
const CALLS: usize = 200;
/// The number of calls of all concurrent tasks together.
const CONCURRENT_CALLS: u32 = 32_000;
const TASKS: [u32; 3] = [1, 8, 64];
/// The length of the token, as of a JWT with a few claims.
const TOKEN_LENGTH: usize = 1200;
/// 32 bytes in base64.
const SEALING_KEY: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";

fn main() {
    let Some(redis) = Redis::start() else { return };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The benchmark runs as a task of the runtime, like the callers of the library.
    let bench = async move {
        let bench = Arc::new(Bench::new(&redis.url()).await);
        bench.run_sequential_calls().await;
        bench.run_concurrent_calls().await;
    };
    runtime.block_on(runtime.spawn(bench)).unwrap();
}

struct Bench {
    connection: MultiplexedConnection,
    entry: String,
    /// Reads the token from Redis on every call.
    source_without_copy: TokenSource,
    /// Serves tokens from a local copy.
    source_with_copy: TokenSource,
}

impl Bench {
    async fn new(server: &Url) -> Self {
        let key = TokenKey::builder("https://issuer.example/").with_identity("test").build();
        let sealing_key = SealingKey::from_base64(&Secret::new(SEALING_KEY)).unwrap();
        let builder =
            RedisTokenCache::builder(server).with_sealing_key(sealing_key).with_total_timeout(Duration::from_secs(60));
        let cache = Arc::new(builder.connect().await.unwrap());
        let source = |copy_seconds: u64| {
            TokenSource::builder(key.clone(), async_provider_fn(|_| async { Ok::<_, TokenError>(token()) }))
                .with_cache(cache.clone())
                .with_lease(cache.clone())
                .with_local_copy(Duration::from_secs(copy_seconds))
                .build()
                .unwrap()
        };
        let address = server.clone().into_connection_info().unwrap();
        let address = address.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let bench = Self {
            connection: Client::open(address).unwrap().get_multiplexed_async_connection().await.unwrap(),
            entry: format!("auth-tokens:{{{}}}:token", key.digest_hex()),
            source_without_copy: source(0),
            source_with_copy: source(3600),
        };
        bench.source_without_copy.token().await.unwrap();
        bench.source_with_copy.token().await.unwrap();
        assert!(bench.hget().await > TOKEN_LENGTH, "the entry exists");
        bench
    }

    async fn hget(&self) -> usize {
        let mut connection = self.connection.clone();
        let value: Vec<u8> =
            redis::cmd("HGET").arg(&self.entry).arg("value").query_async(&mut connection).await.unwrap();
        value.len()
    }

    async fn run_sequential_calls(&self) {
        let (mut hget_times, mut token_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for _ in 0..CALLS {
                hget_times.push(measure(self.hget()).await);
            }
            for _ in 0..CALLS {
                token_times.push(measure(self.source_without_copy.token()).await);
            }
        }
        println!(
            "{} calls of each, one after the other, in {ROUNDS} rounds; a token of {TOKEN_LENGTH} bytes\n",
            hget_times.len()
        );
        println!("                                       p50        p99");
        let [hget_times, token_times] =
            [hget_times, token_times].map(|times| [percentile(times.clone(), 50), percentile(times, 99)]);
        println!("  HGET                            {:7.1} µs {:7.1} µs", hget_times[0], hget_times[1]);
        println!("  TokenSource::token, no copy     {:7.1} µs {:7.1} µs", token_times[0], token_times[1]);
        println!(
            "  ratio                           {:7.2}    {:7.2}",
            token_times[0] / hget_times[0],
            token_times[1] / hget_times[1]
        );
    }

    async fn run_concurrent_calls(self: &Arc<Self>) {
        println!("\nper second, {CONCURRENT_CALLS} calls by this number of tasks");
        println!("                                {:>10} {:>10} {:>10}", TASKS[0], TASKS[1], TASKS[2]);
        for (name, kind) in [
            ("HGET", CallKind::Hget),
            ("TokenSource::token, no copy", CallKind::WithoutCopy),
            ("TokenSource::token, a copy", CallKind::WithCopy),
        ] {
            let mut line = format!("  {name:<30}");
            for tasks in TASKS {
                line += &format!(" {:>10.0}", self.rate(kind, tasks).await);
            }
            println!("{line}");
        }
    }

    /// Returns the median rate of several rounds.
    async fn rate(self: &Arc<Self>, kind: CallKind, tasks: u32) -> f64 {
        let mut rates = Vec::new();
        for _ in 0..5 {
            let work = (0..tasks).map(|_| {
                let bench = self.clone();
                tokio::spawn(async move {
                    for _ in 0..CONCURRENT_CALLS / tasks {
                        match kind {
                            CallKind::Hget => drop(bench.hget().await),
                            CallKind::WithoutCopy => drop(bench.source_without_copy.token().await.unwrap()),
                            CallKind::WithCopy => drop(bench.source_with_copy.token().await.unwrap()),
                        }
                    }
                })
            });
            let work: Vec<_> = work.collect();
            let measurement = measure(async {
                for task in work {
                    task.await.unwrap();
                }
            });
            rates.push(f64::from(CONCURRENT_CALLS) / measurement.await.as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }
}

#[derive(Clone, Copy)]
enum CallKind {
    Hget,
    WithoutCopy,
    WithCopy,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
async fn measure<T>(work: impl Future<Output = T>) -> Duration {
    let start = Instant::now();
    work.await;
    start.elapsed()
}

/// Returns a percentile, in microseconds.
fn percentile(mut times: Vec<Duration>, percent: usize) -> f64 {
    times.sort();
    times[times.len() * percent / 100].as_secs_f64() * 1e6
}

fn token() -> AccessToken {
    let token = AccessToken::try_from("x".repeat(TOKEN_LENGTH)).unwrap();
    token.with_expires_at(SystemClock.now() + Duration::from_secs(24 * 3600))
}
