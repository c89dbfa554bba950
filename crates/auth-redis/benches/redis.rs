//! Latency and throughput of tokens cached in Redis: `cargo xtask bench redis`.
//!
//! A cache hit is compared with a plain `HGET` of the same value, over the same kind of connection to the same server.
//! Rounds alternate between the two, so that other load on the machine affects both.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may panic, and prints")]

#[path = "../../../tests/support/needs.rs"]
mod needs;
#[expect(dead_code, reason = "here it is only started")]
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
/// Sequential calls of each kind in a round.
const CALLS: usize = 200;
/// Total calls of all concurrent tasks.
const TOGETHER: u32 = 32_000;
const TASKS: [u32; 3] = [1, 8, 64];
/// The token length: that of a JWT with a few claims.
const LENGTH: usize = 1200;
/// 32 bytes in base64.
const SEALING: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";

fn main() {
    let Some(redis) = Redis::start() else { return };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Inside the runtime, as callers are.
    let bench = async move {
        let bench = Arc::new(Bench::new(&redis.url()).await);
        bench.one_after_the_other().await;
        bench.side_by_side().await;
    };
    runtime.block_on(runtime.spawn(bench)).unwrap();
}

struct Bench {
    bare: MultiplexedConnection,
    entry: String,
    /// Reads from Redis on every call.
    far: TokenSource,
    /// Keeps a local copy.
    near: TokenSource,
}

impl Bench {
    async fn new(server: &Url) -> Self {
        let key = TokenKey::builder("https://issuer.example/").with_identity("test").build();
        let sealing = SealingKey::from_base64(&Secret::new(SEALING)).unwrap();
        let builder =
            RedisTokenCache::builder(server).with_sealing_key(sealing).with_total_timeout(Duration::from_secs(60));
        let cache = Arc::new(builder.connect().await.unwrap());
        let source = |copy: u64| {
            TokenSource::builder(key.clone(), async_provider_fn(|_| async { Ok::<_, TokenError>(token()) }))
                .with_cache(cache.clone())
                .with_lease(cache.clone())
                .with_local_copy(Duration::from_secs(copy))
                .build()
                .unwrap()
        };
        let address = server.clone().into_connection_info().unwrap();
        let address = address.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let bench = Self {
            bare: Client::open(address).unwrap().get_multiplexed_async_connection().await.unwrap(),
            entry: format!("auth-tokens:{{{}}}:token", key.digest_hex()),
            far: source(0),
            near: source(3600),
        };
        bench.far.token().await.unwrap();
        bench.near.token().await.unwrap();
        assert!(bench.hget().await > LENGTH, "the entry is there");
        bench
    }

    async fn hget(&self) -> usize {
        let mut connection = self.bare.clone();
        let value: Vec<u8> =
            redis::cmd("HGET").arg(&self.entry).arg("value").query_async(&mut connection).await.unwrap();
        value.len()
    }

    async fn one_after_the_other(&self) {
        let (mut bare, mut hits) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for _ in 0..CALLS {
                bare.push(timed(self.hget()).await);
            }
            for _ in 0..CALLS {
                hits.push(timed(self.far.token()).await);
            }
        }
        println!("{} calls of each, one after the other, in {ROUNDS} rounds; a token of {LENGTH} bytes\n", bare.len());
        println!("                                       p50        p99");
        let [bare, hits] = [bare, hits].map(|times| [percentile(times.clone(), 50), percentile(times, 99)]);
        println!("  HGET                            {:7.1} µs {:7.1} µs", bare[0], bare[1]);
        println!("  TokenSource::token, no copy     {:7.1} µs {:7.1} µs", hits[0], hits[1]);
        println!("  ratio                           {:7.2}    {:7.2}", hits[0] / bare[0], hits[1] / bare[1]);
    }

    async fn side_by_side(self: &Arc<Self>) {
        println!("\nper second, {TOGETHER} calls by this number of tasks");
        println!("                                {:>10} {:>10} {:>10}", TASKS[0], TASKS[1], TASKS[2]);
        for (name, kind) in [
            ("HGET", Kind::Bare),
            ("TokenSource::token, no copy", Kind::Far),
            ("TokenSource::token, a copy", Kind::Near),
        ] {
            let mut line = format!("  {name:<30}");
            for tasks in TASKS {
                line += &format!(" {:>10.0}", self.rate(kind, tasks).await);
            }
            println!("{line}");
        }
    }

    /// Returns the median rate of several rounds.
    async fn rate(self: &Arc<Self>, kind: Kind, tasks: u32) -> f64 {
        let mut rates = Vec::new();
        for _ in 0..5 {
            let work = (0..tasks).map(|_| {
                let bench = self.clone();
                tokio::spawn(async move {
                    for _ in 0..TOGETHER / tasks {
                        match kind {
                            Kind::Bare => drop(bench.hget().await),
                            Kind::Far => drop(bench.far.token().await.unwrap()),
                            Kind::Near => drop(bench.near.token().await.unwrap()),
                        }
                    }
                })
            });
            let work: Vec<_> = work.collect();
            let took = timed(async {
                for task in work {
                    task.await.unwrap();
                }
            });
            rates.push(f64::from(TOGETHER) / took.await.as_secs_f64());
        }
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Bare,
    Far,
    Near,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
async fn timed<T>(work: impl Future<Output = T>) -> Duration {
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
    let token = AccessToken::try_from("x".repeat(LENGTH)).unwrap();
    token.with_expires_at(SystemClock.now() + Duration::from_secs(24 * 3600))
}
