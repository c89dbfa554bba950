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

use crate::fixtures::{HOUR, key, sealing_key};
use crate::redis_server::Redis;

/// The timeout of each command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of commands that share the total timeout.
const COMMANDS: u32 = 5;

/// A proxy to Redis that counts responses and delays them.
struct DelayingProxy {
    address: Url,
    delay: watch::Sender<Duration>,
    responses: Arc<AtomicU32>,
}

impl DelayingProxy {
    async fn new(redis: &Redis) -> Self {
        let (delay, delay_receiver) = watch::channel(Duration::ZERO);
        let responses = Arc::new(AtomicU32::new(0));
        let server: SocketAddr = format!("127.0.0.1:{}", redis.port).parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
        let proxy = Self { address, delay, responses: responses.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut from_client, mut to_server) = (client, TcpStream::connect(server).await.unwrap());
                let (delay_receiver, responses) = (delay_receiver.clone(), responses.clone());
                tokio::spawn(
                    async move { forward(&mut from_client, &mut to_server, &delay_receiver, &responses).await },
                );
            }
        });
        proxy
    }

    fn responses(&self) -> u32 {
        self.responses.load(Ordering::SeqCst)
    }
}

/// Forwards bytes in both directions until one side ends, and counts responses. A response arrives in one `read`.
async fn forward(
    client: &mut TcpStream,
    server: &mut TcpStream,
    delay_receiver: &watch::Receiver<Duration>,
    responses: &AtomicU32,
) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let forward_requests = tokio::io::copy(&mut from_client, &mut to_server);
    let forward_responses = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
            responses.fetch_add(1, Ordering::SeqCst);
            let delay = *delay_receiver.borrow();
            sleep_until(Instant::now() + delay).await;
            if to_client.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = forward_requests => {}
        () = forward_responses => {}
    }
}

/// Returns the number of times that a command reached Redis.
fn command_calls(redis: &Redis, command: &str) -> u32 {
    let stats = redis.run_cli(&["info", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

struct TestSetup {
    cache: Arc<RedisTokenCache>,
    source: TokenSource,
    clock: Arc<ManualClock>,
    provider: Arc<ScriptedProvider>,
}

async fn new_setup(server: &Url) -> TestSetup {
    let clock = Arc::new(ManualClock::default());
    let cache = RedisTokenCache::builder(server)
        .with_sealing_key(sealing_key('a'))
        .with_total_timeout(COMMAND_TIMEOUT * COMMANDS);
    let cache = Arc::new(cache.with_clock(clock.clone()).connect().await.unwrap());
    let provider = Arc::new(ScriptedProvider::new(clock.clone()));
    let source = TokenSource::builder(key(), provider.clone())
        .with_cache(cache.clone())
        .with_lease(cache.clone())
        .with_clock(clock.clone())
        .with_local_copy(Duration::ZERO)
        .build()
        .unwrap();
    TestSetup { cache, source, clock, provider }
}

#[tokio::test]
async fn refresh_sends_at_most_five_commands() {
    let Some(redis) = Redis::start() else { return };
    let proxy = DelayingProxy::new(&redis).await;
    let setup = new_setup(&proxy.address).await;
    setup.source.token().await.unwrap();
    setup.clock.advance(HOUR * 2);
    let before = proxy.responses();
    setup.source.token().await.unwrap();
    assert_eq!(proxy.responses() - before, COMMANDS);
    assert_eq!((setup.provider.calls().len(), setup.source.cache_failures()), (2, 0));
}

#[tokio::test]
async fn slow_redis_delays_one_request_and_is_then_bypassed() {
    let Some(redis) = Redis::start() else { return };
    let proxy = DelayingProxy::new(&redis).await;
    let setup = new_setup(&proxy.address).await;
    setup.source.token().await.unwrap();
    proxy.delay.send_replace(COMMAND_TIMEOUT * 2);
    let gets = command_calls(&redis, "hget");
    for _ in 0..20 {
        setup.source.token().await.unwrap();
    }
    // The first call waits for one timeout. The others do not access Redis.
    assert_eq!(command_calls(&redis, "hget"), gets + 1);
    let error = setup.cache.get(&key()).await.unwrap_err();
    assert!(CacheError::of(&error).unwrap().is_unavailable(), "{error:?}");
    proxy.delay.send_replace(Duration::ZERO);
    let start = Instant::now();
    while setup.cache.get(&key()).await.is_err() {
        assert!(start.elapsed() < crate::redis_server::TIMEOUT, "the cache did not reconnect in time");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_stays_slow_is_bypassed() {
    let Some(redis) = Redis::start() else { return };
    let proxy = DelayingProxy::new(&redis).await;
    let command_timeout = Duration::from_millis(200);
    let builder = RedisTokenCache::builder(&proxy.address).with_sealing_key(sealing_key('a'));
    let cache = builder.with_total_timeout(command_timeout * COMMANDS).connect().await.unwrap();
    // Connecting takes a dozen responses and stays within its timeout of 5 s, but each command times out.
    proxy.delay.send_replace(command_timeout + command_timeout / 2);
    cache.get(&key()).await.unwrap_err();
    let (gets, pings) = (command_calls(&redis, "hget"), command_calls(&redis, "ping"));
    let start = Instant::now();
    while command_calls(&redis, "ping") < pings + 2 {
        assert!(start.elapsed() < crate::redis_server::TIMEOUT, "the cache did not probe Redis repeatedly");
        cache.get(&key()).await.unwrap_err();
    }
    assert_eq!(command_calls(&redis, "hget"), gets);
}
