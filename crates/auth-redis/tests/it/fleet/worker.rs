//! A worker process of a fleet. It connects to the parent and executes its instructions, line by line.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use auth_core::{
    AccessToken, AsyncTokenCache, Clock, SystemClock, TokenError, TokenRequest, TokenSource, async_provider_fn,
};
use auth_redis::RedisTokenCache;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use url::Url;

use super::FleetConfig;
use crate::fixtures::{HOUR, key, sealing_key, token_text};

/// The environment variable that makes the test [`WORKER_TEST`] a worker: its addresses (control, provider, Redis) and
/// times.
const WORKER_VARIABLE: &str = "AUTH_REDIS_TEST_WORKER";
const WORKER_TEST: &str = "fleet::rejections::ten_thousand_rejections_of_one_token_lead_to_one_call";

/// The number of tasks of a worker under load, and the interval of their requests.
const LOAD_TASKS: usize = 10;
const REQUEST_INTERVAL: Duration = Duration::from_millis(10);

pub(super) fn command(control_address: SocketAddr, provider: SocketAddr, redis: &Url, config: FleetConfig) -> Command {
    let times = [config.total_timeout, config.lease_time, config.local_copy].map(|time| time.as_millis().to_string());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([WORKER_TEST, "--exact", "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::null());
    command.env(WORKER_VARIABLE, format!("{control_address} {provider} {redis} {}", times.join(" ")));
    command
}

/// The system clock plus an adjustable offset.
#[derive(Debug, Default)]
struct ShiftedClock(AtomicU64);

impl Clock for ShiftedClock {
    fn now(&self) -> SystemTime {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

struct Worker {
    source: TokenSource,
    cache: Arc<RedisTokenCache>,
    clock: Arc<ShiftedClock>,
    tally: Arc<Tally>,
    tasks: JoinSet<()>,
    is_under_load: Arc<AtomicBool>,
}

/// The results of the tasks since the last report.
#[derive(Default)]
struct Tally {
    /// The distinct tokens and errors.
    tokens: Mutex<BTreeSet<String>>,
    requests: AtomicU64,
    failures: AtomicU64,
    longest_wait_ms: AtomicU64,
}

/// Runs a worker and returns true if the parent started this process as a worker. Otherwise returns false.
pub(super) fn run_if_worker() -> bool {
    let Ok(arguments) = std::env::var(WORKER_VARIABLE) else { return false };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run_worker(&arguments.split(' ').collect::<Vec<_>>()));
    true
}

async fn run_worker(arguments: &[&str]) {
    let [control_address, provider, redis, total_timeout, lease_time, local_copy] = *arguments else {
        panic!("{arguments:?}")
    };
    let time = |text: &str| Duration::from_millis(text.parse().unwrap());
    let mut worker = Worker::start(provider, redis, time(total_timeout), time(lease_time), time(local_copy)).await;
    let mut stream = BufReader::new(TcpStream::connect(control_address).await.unwrap());
    stream.write_all(format!("{}\n", std::process::id()).as_bytes()).await.unwrap();
    let mut instruction = String::new();
    while stream.read_line(&mut instruction).await.unwrap() > 0 {
        let response = worker.execute(instruction.trim_end()).await;
        stream.write_all(format!("{response}\n").as_bytes()).await.unwrap();
        instruction.clear();
    }
}

impl Worker {
    async fn start(
        provider: &str,
        redis: &str,
        total_timeout: Duration,
        lease_time: Duration,
        local_copy: Duration,
    ) -> Self {
        let clock = Arc::new(ShiftedClock::default());
        let cache = RedisTokenCache::builder(&redis.parse().unwrap())
            .with_sealing_key(sealing_key('a'))
            .with_total_timeout(total_timeout)
            .with_lease_time(lease_time)
            .with_clock(clock.clone());
        let cache = Arc::new(cache.connect().await.unwrap());
        let (provider, time): (SocketAddr, _) = (provider.parse().unwrap(), clock.clone());
        let provider = async_provider_fn(move |_| {
            let time = time.clone();
            async move { fetch(provider).await.map(|token| token.with_expires_at(time.now() + HOUR)) }
        });
        let source = TokenSource::builder(key(), provider)
            .with_cache(cache.clone())
            .with_lease(cache.clone())
            .with_clock(clock.clone())
            .with_local_copy(local_copy)
            .build()
            .unwrap();
        let (tally, tasks, is_under_load) = (Arc::default(), JoinSet::new(), Arc::default());
        Self { source, cache, clock, tally, tasks, is_under_load }
    }

    async fn execute(&mut self, instruction: &str) -> String {
        let (instruction, number) = instruction.split_once(' ').unwrap_or((instruction, "0"));
        let number: u64 = number.parse().unwrap();
        match instruction {
            "request" => {
                (0..number).for_each(|_| self.spawn_request(None));
                self.report().await
            }
            "reject" => {
                let rejected_token = self.source.token().await.unwrap();
                (0..number).for_each(|_| self.spawn_request(Some(rejected_token.clone())));
                self.report().await
            }
            "load" => {
                self.is_under_load.store(true, Ordering::SeqCst);
                (0..LOAD_TASKS).for_each(|_| self.spawn_load());
                "loaded".to_owned()
            }
            "stop_load" => {
                self.is_under_load.store(false, Ordering::SeqCst);
                self.report().await
            }
            "advance" => {
                self.clock.0.fetch_add(number, Ordering::SeqCst);
                "advanced".to_owned()
            }
            // Returns immediately, because a cache without a connection fails without waiting.
            "probe" => match self.cache.get(&key()).await {
                Ok(_) => "available".to_owned(),
                Err(_) => "unavailable".to_owned(),
            },
            _ => panic!("unknown instruction {instruction}"),
        }
    }

    fn spawn_request(&mut self, rejected: Option<AccessToken>) {
        let (source, tally) = (self.source.clone(), self.tally.clone());
        self.tasks.spawn(async move {
            if let Some(rejected) = rejected {
                source.reject(&TokenRequest::new(), &rejected);
            }
            tally.request_tokens(&source).await;
        });
    }

    fn spawn_load(&mut self) {
        let (source, tally, is_under_load) = (self.source.clone(), self.tally.clone(), self.is_under_load.clone());
        self.tasks.spawn(async move {
            let mut ticks = interval(REQUEST_INTERVAL);
            // A delayed task does not catch up on missed requests.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while is_under_load.load(Ordering::SeqCst) {
                ticks.tick().await;
                tally.request_tokens(&source).await;
            }
        });
    }

    /// Waits for all tasks, and starts a new tally.
    async fn report(&mut self) -> String {
        while let Some(result) = self.tasks.join_next().await {
            result.unwrap();
        }
        let tally = std::mem::take(&mut self.tally);
        let tokens: Vec<_> = tally.tokens.lock().unwrap().iter().cloned().collect();
        let [requests, failures, longest_wait_ms] =
            [&tally.requests, &tally.failures, &tally.longest_wait_ms].map(|number| number.load(Ordering::SeqCst));
        format!("{} {requests} {failures} {longest_wait_ms}", tokens.join(","))
    }
}

impl Tally {
    async fn request_tokens(&self, source: &TokenSource) {
        let start = Instant::now();
        let outcome = source.token().await;
        let wait_ms = u64::try_from(start.elapsed().as_millis()).unwrap();
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.longest_wait_ms.fetch_max(wait_ms, Ordering::SeqCst);
        let line = match outcome {
            Ok(token) => token_text(&token),
            Err(error) => {
                self.failures.fetch_add(1, Ordering::SeqCst);
                format!("{error:?}").replace([' ', ','], "_")
            }
        };
        self.tokens.lock().unwrap().insert(line);
    }
}

async fn fetch(provider: SocketAddr) -> Result<AccessToken, TokenError> {
    let mut stream = BufReader::new(TcpStream::connect(provider).await.map_err(TokenError::provider)?);
    stream.write_all(format!("{}\n", std::process::id()).as_bytes()).await.map_err(TokenError::provider)?;
    let mut token = String::new();
    stream.read_line(&mut token).await.map_err(TokenError::provider)?;
    // The test decides when the token is published.
    stream.write_all(b"received\n").await.map_err(TokenError::provider)?;
    stream.read_line(&mut String::new()).await.map_err(TokenError::provider)?;
    AccessToken::try_from(token.trim_end())
}
