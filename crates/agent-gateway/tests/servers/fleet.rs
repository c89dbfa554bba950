//! Four processes that share tokens in a Redis server. The test starts its own binary as the worker processes.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use agent_gateway::{Gateway, Principal, ServiceBinding, ToolFilter, User};
use auth_core::Secret;
use auth_http::HttpClient;
use auth_redis::{RedisTokenCache, SealingKey};
use serde_json::json;

use crate::redis_server::{Redis, TIMEOUT};
use crate::test_bed::{TestBed, object, tool};

const PROCESSES: usize = 4;
const ROUNDS: usize = 100;
/// The sealing key: 32 bytes in base64.
const SEALING_KEY: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
/// The environment variable with the arguments of a worker: the control address, the bindings, the root certificates
/// and the URL of Redis. If it is set, the process is a worker.
const WORKER_VARIABLE: &str = "AGENT_GATEWAY_TEST_WORKER";
const TEST: &str = "fleet::four_processes_need_no_more_tokens_than_one";

/// A worker process. It is killed when this value is dropped.
struct Worker {
    process: Child,
    stream: BufReader<TcpStream>,
}

impl Worker {
    fn send(&mut self, line: &str) {
        writeln!(self.stream.get_mut(), "{line}").unwrap();
    }

    fn receive(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the workers, which connect to this process.
fn start_workers(test_bed: &TestBed, redis: &Redis) -> Vec<Worker> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let control_address = listener.local_addr().unwrap().to_string();
    let worker_arguments =
        json!([control_address, test_bed.bindings(), test_bed.server_authority.file(), redis.url().as_str()])
            .to_string();
    let start_worker = |_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([TEST, "--exact", "--nocapture"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .env(WORKER_VARIABLE, &worker_arguments);
        let process = command.spawn().unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Worker { process, stream: BufReader::new(stream) }
    };
    (0..PROCESSES).map(start_worker).collect()
}

#[test]
fn four_processes_need_no_more_tokens_than_one() {
    if let Ok(worker_arguments) = std::env::var(WORKER_VARIABLE) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(run_worker(&serde_json::from_str::<Vec<String>>(&worker_arguments).unwrap()));
    }
    let (Some(test_bed), Some(redis)) = (TestBed::open(), Redis::start()) else { return };
    let assertion = test_bed.provider.assertion("alice", 10 * TIMEOUT);
    let mut workers = start_workers(&test_bed, &redis);
    let send_to_all = |workers: &mut [Worker], line: &str| {
        for worker in workers.iter_mut() {
            worker.send(line);
        }
        let replies: Vec<_> = workers.iter_mut().map(Worker::receive).collect();
        assert!(replies.iter().all(|reply| reply == "done"), "{replies:?}");
    };
    send_to_all(&mut workers, assertion.expose());
    assert_eq!(test_bed.tokens(), (1, 1, 2));
    test_bed.mcp.revoke();
    send_to_all(&mut workers, "continue");
    assert_eq!(test_bed.tokens(), (2, 2, 4));
    let calls = test_bed.mcp.requests("tools/call");
    let count_with_status = |status: u16| calls.iter().filter(|call| call["status"] == status).count();
    assert_eq!(count_with_status(200), PROCESSES * ROUNDS, "every round has its result");
    assert!((1..=PROCESSES).contains(&count_with_status(401)), "{}", count_with_status(401));
}

/// Runs as a worker: receives the assertion of the user, runs half of the rounds, waits for a line, and runs the rest.
async fn run_worker(worker_arguments: &[String]) {
    let [control_address, bindings, root_certificates, redis] = worker_arguments else {
        panic!("{worker_arguments:?}")
    };
    let mut stream = BufReader::new(TcpStream::connect(control_address).unwrap());
    let mut receive_line = || {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let alice = Principal::User(User::new(Secret::new(receive_line())).unwrap());
    let cache = RedisTokenCache::builder(&redis.parse().unwrap())
        .with_sealing_key(SealingKey::from_base64(&Secret::new(SEALING_KEY)).unwrap())
        .with_total_timeout(TIMEOUT);
    let cache = Arc::new(cache.connect().await.unwrap());
    let binding = ServiceBinding::at(bindings);
    let gateway = Gateway::builder(binding.clone(), binding)
        .with_http(HttpClient::builder().with_root_certificates(root_certificates))
        .with_cache(cache.clone())
        .with_lease(cache)
        .build();
    let filter = ToolFilter::new().with_ord_id("orders");
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            writeln!(stream.get_mut(), "done").unwrap();
            stream.read_line(&mut String::new()).unwrap();
        }
        gateway.evict();
        let listing = gateway.list_tools(&Principal::System, &filter).strict().await.unwrap();
        let arguments = object(json!({ "a": round, "b": 1 }));
        let sum = gateway.call_tool(tool(&listing, "orders", "add"), &alice, arguments).await.unwrap();
        assert_eq!(sum.text(), (round + 1).to_string());
    }
    writeln!(stream.get_mut(), "done").unwrap();
}
