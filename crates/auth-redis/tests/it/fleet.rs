//! A fleet: processes that share a Redis server, and a provider that counts calls.
//!
//! The test binary starts itself as [`worker`] processes. This module controls them.

mod expiry;
mod outages;
mod rejections;
mod worker;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::redis_server::{Redis, TIMEOUT};

/// The number of processes in a fleet.
const PROCESSES: usize = 8;
/// The number of concurrent tasks per process that request a token.
const TASKS: usize = 100;

/// The configuration of the workers of a fleet.
#[derive(Clone, Copy)]
struct FleetConfig {
    delay: Duration,
    lease: Duration,
    local_copy: Duration,
}

impl Default for FleetConfig {
    /// Timeouts are long unless a test is about them.
    fn default() -> Self {
        Self { delay: TIMEOUT, lease: Duration::from_secs(10), local_copy: Duration::from_secs(5) }
    }
}

/// The worker processes and their token provider.
struct Fleet {
    workers: Vec<Worker>,
    provider: Provider,
    _turn: MutexGuard<'static, ()>,
}

/// Runs one fleet at a time, so that it does not share the machine.
static FLEET_LOCK: Mutex<()> = Mutex::new(());

/// A worker process, killed when dropped.
struct Worker {
    process: Child,
    stream: BufReader<TcpStream>,
}

/// The results of a worker's tasks.
#[derive(Debug)]
struct Report {
    /// The distinct tokens and errors.
    tokens: Vec<String>,
    requests: u64,
    failures: u64,
    /// The longest wait.
    longest: Duration,
}

/// A provider that issues `token-1`, `token-2` … and counts calls.
#[derive(Clone)]
struct Provider {
    address: SocketAddr,
    state: Arc<(Mutex<Calls>, Condvar)>,
}

#[derive(Default)]
struct Calls {
    /// The process ids of the callers.
    callers: Vec<u32>,
    /// The number of calls whose token the caller has received.
    received: usize,
    is_held: bool,
}

impl Fleet {
    fn start(redis: &Url, config: FleetConfig) -> Self {
        let turn = FLEET_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let provider = Provider::start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stage = listener.local_addr().unwrap();
        let mut processes: Vec<_> =
            (0..PROCESSES).map(|_| worker::command(stage, provider.address, redis, config).spawn().unwrap()).collect();
        let mut workers = Vec::new();
        while workers.len() < PROCESSES {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            let mut stream = BufReader::new(stream);
            let pid: u32 = line(&mut stream).parse().unwrap();
            let place = processes.iter().position(|process| process.id() == pid).unwrap();
            workers.push(Worker { process: processes.swap_remove(place), stream });
        }
        Self { workers, provider, _turn: turn }
    }

    /// Sends an instruction to all workers at the same time, and waits for their replies.
    fn send_and_wait(&mut self, instruction: &str) -> Vec<String> {
        self.send(instruction);
        self.receive()
    }

    fn send(&mut self, instruction: &str) {
        for worker in &mut self.workers {
            writeln!(worker.stream.get_mut(), "{instruction}").unwrap();
        }
    }

    fn receive(&mut self) -> Vec<String> {
        self.workers.iter_mut().map(|worker| line(&mut worker.stream)).collect()
    }

    fn reports(&mut self) -> Vec<Report> {
        self.receive().iter().map(|line| Report::parse(line)).collect()
    }

    /// Lets all tasks of all workers request a token, and returns the results.
    fn request_tokens(&mut self) -> Vec<Report> {
        self.send(&format!("ask {TASKS}"));
        self.reports()
    }

    /// Kills the worker that made the last call to the provider.
    fn kill_leader(&mut self) {
        let leader = *self.provider.calls().callers.last().unwrap();
        let place = self.workers.iter().position(|worker| worker.process.id() == leader).unwrap();
        drop(self.workers.swap_remove(place));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Report {
    fn parse(line: &str) -> Self {
        let words: Vec<_> = line.split(' ').collect();
        let [tokens, requests, failures, longest] = words[..] else {
            panic!("unexpected line from a worker: {line:?}")
        };
        Self {
            tokens: tokens.split(',').filter(|token| !token.is_empty()).map(str::to_owned).collect(),
            requests: requests.parse().unwrap(),
            failures: failures.parse().unwrap(),
            longest: Duration::from_millis(longest.parse().unwrap()),
        }
    }
}

/// Prints a measurement, even if the test passes.
fn print_measurement(measured: &str) {
    // The test harness captures `eprintln!`.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "{}: {measured}", std::thread::current().name().unwrap_or_default()).unwrap();
}

/// Asserts that all tasks received this token, without errors.
#[track_caller]
fn assert_all_have(reports: &[Report], token: &str) {
    for report in reports {
        assert!(report.failures == 0 && report.tokens == [token], "not all have {token}: {report:?}");
    }
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let provider = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = provider.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let provider = serving.clone();
                std::thread::spawn(move || provider.answer(stream));
            }
        });
        provider
    }

    fn answer(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let caller = line(&mut stream).parse().unwrap();
        let mut calls = self.calls();
        calls.callers.push(caller);
        let number = calls.callers.len();
        drop(calls);
        // The caller may have been killed.
        let _ = writeln!(stream.get_mut(), "token-{number}");
        let mut received = String::new();
        let _ = stream.read_line(&mut received);
        let mut calls = self.calls();
        calls.received += usize::from(received == "received\n");
        self.state.1.notify_all();
        let calls = self.state.1.wait_while(calls, |calls| calls.is_held).unwrap();
        drop(calls);
        let _ = writeln!(stream.get_mut(), "publish");
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.state.0.lock().unwrap()
    }

    fn count(&self) -> usize {
        self.calls().callers.len()
    }

    /// Delays callers after they receive their token and before they publish it, until released.
    fn hold(&self, is_held: bool) {
        self.calls().is_held = is_held;
        self.state.1.notify_all();
    }

    /// Waits until the callers of `count` calls have received the token.
    fn wait_for(&self, count: usize) {
        let calls = self.calls();
        let (calls, end) = self.state.1.wait_timeout_while(calls, TIMEOUT, |calls| calls.received < count).unwrap();
        assert!(!end.timed_out(), "{} calls of the provider were answered, not {count}", calls.received);
    }
}

/// Waits until this number of Redis connections have last tried to acquire or check a lease.
fn wait_for_candidates(redis: &Redis, count: usize) {
    until("all workers want the lease", || {
        redis.run_cli(&["client", "list"]).lines().filter(|client| client.contains(" cmd=evalsha ")).count() >= count
    });
}

/// Polls until the condition is true.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < TIMEOUT, "not in time: {what}");
        std::thread::yield_now();
    }
}

fn line(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
