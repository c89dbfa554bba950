//! A Redis server that responds late.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use auth_core::{AsyncTokenCache, TokenSource};
use auth_redis::{CacheError, RedisTokenCache};
use platform_testkit::{ManualClock, ScriptedProvider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use url::Url;

use crate::lab::{HOUR, key, sealing_key};
use crate::redis_server::Redis;

/// The timeout of each command.
const EACH: Duration = Duration::from_secs(5);

/// The number of commands that share the total timeout.
const COMMANDS: u32 = 5;

/// A proxy to Redis that counts responses and delays them.
struct Detour {
    address: Url,
    late: watch::Sender<Duration>,
    answers: Arc<AtomicU32>,
}

impl Detour {
    async fn to(redis: &Redis) -> Self {
        let (late, by) = watch::channel(Duration::ZERO);
        let answers = Arc::new(AtomicU32::new(0));
        let server: SocketAddr = format!("127.0.0.1:{}", redis.port).parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
        let detour = Self { address, late, answers: answers.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut from_client, mut to_server) = (client, TcpStream::connect(server).await.unwrap());
                let (by, answers) = (by.clone(), answers.clone());
                tokio::spawn(async move { carry(&mut from_client, &mut to_server, &by, &answers).await });
            }
        });
        detour
    }

    fn answers(&self) -> u32 {
        self.answers.load(Ordering::SeqCst)
    }
}

/// Forwards bytes in both directions until one side ends. Each response to a single command arrives in one piece.
async fn carry(client: &mut TcpStream, server: &mut TcpStream, by: &watch::Receiver<Duration>, answers: &AtomicU32) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let back = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
            answers.fetch_add(1, Ordering::SeqCst);
            let late = *by.borrow();
            sleep_until(Instant::now() + late).await;
            if to_client.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = there => {}
        () = back => {}
    }
}

/// Returns the number of times that a command reached Redis.
fn calls(redis: &Redis, command: &str) -> u32 {
    let stats = redis.ask(&["info", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

struct Lab {
    cache: Arc<RedisTokenCache>,
    source: TokenSource,
    clock: Arc<ManualClock>,
    provider: Arc<ScriptedProvider>,
}

async fn lab(server: &Url) -> Lab {
    let clock = Arc::new(ManualClock::default());
    let cache = RedisTokenCache::builder(server).with_sealing_key(sealing_key('a')).with_total_timeout(EACH * COMMANDS);
    let cache = Arc::new(cache.with_clock(clock.clone()).connect().await.unwrap());
    let provider = Arc::new(ScriptedProvider::new(clock.clone()));
    let source = TokenSource::builder(key(), provider.clone())
        .with_cache(cache.clone())
        .with_lease(cache.clone())
        .with_clock(clock.clone())
        .with_local_copy(Duration::ZERO)
        .build()
        .unwrap();
    Lab { cache, source, clock, provider }
}

#[tokio::test]
async fn token_replacement_takes_five_commands() {
    let Some(redis) = Redis::start() else { return };
    let detour = Detour::to(&redis).await;
    let lab = lab(&detour.address).await;
    lab.source.token().await.unwrap();
    lab.clock.advance(HOUR * 2);
    let before = detour.answers();
    lab.source.token().await.unwrap();
    assert_eq!(detour.answers() - before, COMMANDS);
    assert_eq!((lab.provider.calls().len(), lab.source.cache_failures()), (2, 0));
}

#[tokio::test]
async fn slow_redis_delays_one_request_and_is_then_bypassed() {
    let Some(redis) = Redis::start() else { return };
    let detour = Detour::to(&redis).await;
    let lab = lab(&detour.address).await;
    lab.source.token().await.unwrap();
    detour.late.send_replace(EACH * 2);
    let asked = calls(&redis, "hget");
    for _ in 0..20 {
        lab.source.token().await.unwrap();
    }
    // The first call waits for one timeout. The others do not access Redis.
    assert_eq!(calls(&redis, "hget"), asked + 1);
    let error = lab.cache.get(&key()).await.unwrap_err();
    assert!(CacheError::of(&error).unwrap().is_away(), "{error:?}");
    detour.late.send_replace(Duration::ZERO);
    let start = Instant::now();
    while lab.cache.get(&key()).await.is_err() {
        assert!(start.elapsed() < crate::redis_server::PATIENCE, "it is not found again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_redis_is_bypassed() {
    let Some(redis) = Redis::start() else { return };
    let detour = Detour::to(&redis).await;
    let each = Duration::from_millis(200);
    let builder = RedisTokenCache::builder(&detour.address).with_sealing_key(sealing_key('a'));
    let cache = builder.with_total_timeout(each * COMMANDS).connect().await.unwrap();
    // Connecting takes a dozen responses. They are in time for a connection, but not for a command.
    detour.late.send_replace(each + each / 2);
    cache.get(&key()).await.unwrap_err();
    let (asked, looked) = (calls(&redis, "hget"), calls(&redis, "ping"));
    let start = Instant::now();
    while calls(&redis, "ping") < looked + 2 {
        assert!(start.elapsed() < crate::redis_server::PATIENCE, "it is looked for again and again");
        cache.get(&key()).await.unwrap_err();
    }
    assert_eq!(calls(&redis, "hget"), asked);
}
