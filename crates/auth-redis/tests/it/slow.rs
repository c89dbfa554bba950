//! A Redis that answers, but late.

use std::net::SocketAddr;
use std::sync::Arc;
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

/// What Redis may hold up a request, and what each command has of it.
const DELAY: Duration = Duration::from_secs(5);
const EACH: Duration = Duration::from_secs(1);

/// The way to a Redis on which answers take as long as is said.
async fn detour(redis: &Redis) -> (Url, watch::Sender<Duration>) {
    let (late, by) = watch::channel(Duration::ZERO);
    let server: SocketAddr = format!("127.0.0.1:{}", redis.port).parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("redis://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let by = by.clone();
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
                    let late = *by.borrow();
                    sleep_until(Instant::now() + late).await;
                    if to_client.write_all(&bytes[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, late)
}

struct Lab {
    cache: Arc<RedisTokenCache>,
    source: TokenSource,
    clock: Arc<ManualClock>,
    provider: Arc<ScriptedProvider>,
}

async fn lab(server: &Url) -> Lab {
    let clock = Arc::new(ManualClock::default());
    let cache = RedisTokenCache::builder(server).with_sealing_key(sealing_key('a')).with_delay(DELAY);
    let cache = Arc::new(cache.with_clock(clock.clone()).connect().await.unwrap());
    let provider = Arc::new(ScriptedProvider::new(clock.clone()));
    let source = TokenSource::builder(key(), provider.clone())
        .with_cache(cache.clone())
        .with_lease(cache.clone())
        .with_clock(clock.clone())
        .with_local_copy(Duration::ZERO)
        .build();
    Lab { cache, source, clock, provider }
}

#[tokio::test]
async fn a_token_that_must_be_replaced_takes_five_commands_and_no_more() {
    let Some(redis) = Redis::start() else { return };
    let (address, late) = detour(&redis).await;
    let lab = lab(&address).await;
    lab.source.token().await.unwrap();
    lab.clock.advance(HOUR * 2);
    let by = EACH / 2;
    late.send_replace(by);
    let start = Instant::now();
    lab.source.token().await.unwrap();
    let took = start.elapsed();
    assert!(took >= by * 5 && took < by * 6, "{took:?}");
    assert_eq!((lab.provider.calls().len(), lab.source.cache_failures()), (2, 0));
}

#[tokio::test]
async fn a_redis_that_is_too_late_holds_a_request_up_once_and_is_left_alone_until_it_is_in_time() {
    let Some(redis) = Redis::start() else { return };
    let (address, late) = detour(&redis).await;
    let lab = lab(&address).await;
    lab.source.token().await.unwrap();
    late.send_replace(EACH * 2);
    for request in 0..20 {
        let start = Instant::now();
        lab.source.token().await.unwrap();
        let took = start.elapsed();
        let bound = if request == 0 { EACH + EACH / 2 } else { EACH / 2 };
        assert!(took < bound, "request {request} took {took:?}");
    }
    let error = lab.cache.get(&key()).await.unwrap_err();
    assert!(CacheError::of(&error).unwrap().is_away(), "{error:?}");
    late.send_replace(Duration::ZERO);
    let start = Instant::now();
    while lab.cache.get(&key()).await.is_err() {
        assert!(start.elapsed() < crate::redis_server::PATIENCE, "it is not found again");
        tokio::task::yield_now().await;
    }
}
