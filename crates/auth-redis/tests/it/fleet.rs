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
    total_timeout: Duration,
    lease_time: Duration,
    local_copy: Duration,
}

impl Default for FleetConfig {
    /// Timeouts are long, for tests that are not about timeouts.
    fn default() -> Self {
        Self { total_timeout: TIMEOUT, lease_time: Duration::from_secs(10), local_copy: Duration::from_secs(5) }
    }
}

/// The worker processes and their token provider.
struct Fleet {
    workers: Vec<Worker>,
    provider: Provider,
    _fleet_guard: MutexGuard<'static, ()>,
}

/// A lock that is held while a fleet runs, so that fleets do not compete for the machine.
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
    /// The maximum time that a task waited for its token.
    longest_wait: Duration,
}

/// A provider that issues `token-1`, `token-2` … and counts calls.
#[derive(Clone)]
struct Provider {
    address: SocketAddr,
    /// The calls, and a notification of their changes.
    state: Arc<(Mutex<Calls>, Condvar)>,
}

#[derive(Default)]
struct Calls {
    /// The process ids of the callers.
    callers: Vec<u32>,
    /// The number of calls whose token the caller has received.
    received: usize,
    /// True while callers must not publish their tokens.
    is_on_hold: bool,
}

impl Fleet {
    fn start(redis: &Url, config: FleetConfig) -> Self {
        let fleet_guard = FLEET_LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let provider = Provider::start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let control_address = listener.local_addr().unwrap();
        let mut processes: Vec<_> = (0..PROCESSES)
            .map(|_| worker::command(control_address, provider.address, redis, config).spawn().unwrap())
            .collect();
        let mut workers = Vec::new();
        while workers.len() < PROCESSES {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            let mut stream = BufReader::new(stream);
            let pid: u32 = read_line(&mut stream).parse().unwrap();
            let index = processes.iter().position(|process| process.id() == pid).unwrap();
            workers.push(Worker { process: processes.swap_remove(index), stream });
        }
        Self { workers, provider, _fleet_guard: fleet_guard }
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
        self.workers.iter_mut().map(|worker| read_line(&mut worker.stream)).collect()
    }

    fn reports(&mut self) -> Vec<Report> {
        self.receive().iter().map(|line| Report::parse(line)).collect()
    }

    /// Lets all tasks of all workers request a token, and returns the results.
    fn request_tokens(&mut self) -> Vec<Report> {
        self.send(&format!("request {TASKS}"));
        self.reports()
    }

    /// Kills the worker that made the last call to the provider.
    fn kill_leader(&mut self) {
        let leader = *self.provider.calls().callers.last().unwrap();
        let index = self.workers.iter().position(|worker| worker.process.id() == leader).unwrap();
        drop(self.workers.swap_remove(index));
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
        let fields: Vec<_> = line.split(' ').collect();
        let [tokens, requests, failures, longest_wait] = fields[..] else {
            panic!("unexpected line from a worker: {line:?}")
        };
        Self {
            tokens: tokens.split(',').filter(|token| !token.is_empty()).map(str::to_owned).collect(),
            requests: requests.parse().unwrap(),
            failures: failures.parse().unwrap(),
            longest_wait: Duration::from_millis(longest_wait.parse().unwrap()),
        }
    }
}

/// Prints a measurement, even if the test passes.
fn print_measurement(measurement: &str) {
    // The test harness captures `eprintln!`.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "{}: {measurement}", std::thread::current().name().unwrap_or_default()).unwrap();
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
        let provider_clone = provider.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let provider = provider_clone.clone();
                std::thread::spawn(move || provider.serve_call(stream));
            }
        });
        provider
    }

    fn serve_call(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let caller = read_line(&mut stream).parse().unwrap();
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
        let calls = self.state.1.wait_while(calls, |calls| calls.is_on_hold).unwrap();
        drop(calls);
        let _ = writeln!(stream.get_mut(), "publish");
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.state.0.lock().unwrap()
    }

    fn count(&self) -> usize {
        self.calls().callers.len()
    }

    /// If true, keeps callers from publishing the token that they have received, until this is called with false.
    fn hold(&self, is_on_hold: bool) {
        self.calls().is_on_hold = is_on_hold;
        self.state.1.notify_all();
    }

    /// Waits until the callers of `count` calls have received the token.
    fn wait_for(&self, count: usize) {
        let calls = self.calls();
        let (calls, wait) = self.state.1.wait_timeout_while(calls, TIMEOUT, |calls| calls.received < count).unwrap();
        assert!(!wait.timed_out(), "the callers of {} calls received a token, expected {count}", calls.received);
    }
}

/// Waits until this number of Redis clients have sent a script as their last command: they wait for the lease.
fn wait_for_candidates(redis: &Redis, count: usize) {
    wait_until("all workers wait for the lease", || {
        redis.run_cli(&["client", "list"]).lines().filter(|client| client.contains(" cmd=evalsha ")).count() >= count
    });
}

/// Polls until the condition is true.
#[track_caller]
pub(crate) fn wait_until(expectation: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TIMEOUT, "not in time: {expectation}");
        std::thread::yield_now();
    }
}

fn read_line(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
