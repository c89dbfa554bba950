//! A fleet: processes that share a Redis, and a provider that counts.
//!
//! The test binary starts itself again. What a worker does is in [`worker`]; here is who tells it to.

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

use crate::redis_server::{PATIENCE, Redis};

/// The processes of a fleet.
const PROCESSES: usize = 8;
/// The tasks of each that want a token at the same time.
const TASKS: usize = 100;

/// How the workers of a fleet are set up.
#[derive(Clone, Copy)]
struct Setting {
    delay: Duration,
    lease: Duration,
    local_copy: Duration,
}

impl Default for Setting {
    /// Where time-outs are not the point, there are none.
    fn default() -> Self {
        Self { delay: PATIENCE, lease: Duration::from_secs(10), local_copy: Duration::from_secs(5) }
    }
}

/// The processes, and the provider that they ask.
struct Fleet {
    workers: Vec<Worker>,
    provider: Provider,
    _turn: MutexGuard<'static, ()>,
}

/// One fleet at a time, which has the machine for itself.
static TURN: Mutex<()> = Mutex::new(());

/// One process, which does not outlive its test.
struct Worker {
    process: Child,
    stream: BufReader<TcpStream>,
}

/// What the tasks of a worker have got.
#[derive(Debug)]
struct Report {
    /// The different tokens, and errors.
    tokens: Vec<String>,
    requests: u64,
    failures: u64,
    /// How long the slowest waited.
    longest: Duration,
}

/// Hands out `token-1`, `token-2` … to whoever connects, and counts.
#[derive(Clone)]
struct Provider {
    address: SocketAddr,
    state: Arc<(Mutex<Calls>, Condvar)>,
}

#[derive(Default)]
struct Calls {
    /// The processes that called.
    callers: Vec<u32>,
    /// The calls whose answer the caller has received.
    received: usize,
    is_held: bool,
}

impl Fleet {
    fn start(redis: &Url, setting: Setting) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let provider = Provider::start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stage = listener.local_addr().unwrap();
        let mut processes: Vec<_> =
            (0..PROCESSES).map(|_| worker::command(stage, provider.address, redis, setting).spawn().unwrap()).collect();
        let mut workers = Vec::new();
        while workers.len() < PROCESSES {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut stream = BufReader::new(stream);
            let pid: u32 = line(&mut stream).parse().unwrap();
            let place = processes.iter().position(|process| process.id() == pid).unwrap();
            workers.push(Worker { process: processes.swap_remove(place), stream });
        }
        Self { workers, provider, _turn: turn }
    }

    /// Tells all workers the same at the same time, and waits for what they say.
    fn tell(&mut self, order: &str) -> Vec<String> {
        self.say(order);
        self.hear()
    }

    fn say(&mut self, order: &str) {
        for worker in &mut self.workers {
            writeln!(worker.stream.get_mut(), "{order}").unwrap();
        }
    }

    fn hear(&mut self) -> Vec<String> {
        self.workers.iter_mut().map(|worker| line(&mut worker.stream)).collect()
    }

    fn reports(&mut self) -> Vec<Report> {
        self.hear().iter().map(|line| Report::parse(line)).collect()
    }

    /// All tasks of all workers ask for a token: what they have got.
    fn ask(&mut self) -> Vec<Report> {
        self.say(&format!("ask {TASKS}"));
        self.reports()
    }

    /// Kills the worker that has made the last call to the provider.
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
        let [tokens, requests, failures, longest] = words[..] else { panic!("a worker says {line:?}") };
        Self {
            tokens: tokens.split(',').filter(|token| !token.is_empty()).map(str::to_owned).collect(),
            requests: requests.parse().unwrap(),
            failures: failures.parse().unwrap(),
            longest: Duration::from_millis(longest.parse().unwrap()),
        }
    }
}

/// Says what was measured, even where the test passes.
fn show(measured: &str) {
    // Not by `eprintln!`, which the test harness would keep to itself.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "{}: {measured}", std::thread::current().name().unwrap_or_default()).unwrap();
}

/// Everybody has got this token, and nobody an error.
#[track_caller]
fn all_have(reports: &[Report], token: &str) {
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

    /// Lets callers wait, after they have received their token and before they publish it, until they are released.
    fn hold(&self, is_held: bool) {
        self.calls().is_held = is_held;
        self.state.1.notify_all();
    }

    /// Waits until `count` calls were answered, and their callers have received the token.
    fn wait_for(&self, count: usize) {
        let calls = self.calls();
        let (calls, end) = self.state.1.wait_timeout_while(calls, PATIENCE, |calls| calls.received < count).unwrap();
        assert!(!end.timed_out(), "{} calls of the provider were answered, not {count}", calls.received);
    }
}

/// Waits until so many connections to Redis have last tried to take a lease, or looked at it.
fn wait_for_candidates(redis: &Redis, count: usize) {
    until("all workers want the lease", || {
        redis.ask(&["client", "list"]).lines().filter(|client| client.contains(" cmd=evalsha ")).count() >= count
    });
}

/// Looks again and again until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::yield_now();
    }
}

fn line(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
