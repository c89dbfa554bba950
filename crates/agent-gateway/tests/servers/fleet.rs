//! Four processes that share a Redis server. The test binary starts itself as the worker processes.

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
/// 32 bytes in base64.
const SEALING: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";
/// The variable that makes the test a worker, with the control address, the bindings, the root certificates and Redis.
const WORKER: &str = "AGENT_GATEWAY_TEST_WORKER";
const CHILD: &str = "fleet::four_processes_need_no_more_tokens_than_one";

/// A worker process, killed when dropped.
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

/// Starts the processes.
fn start(test_bed: &TestBed, redis: &Redis) -> Vec<Worker> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stage = listener.local_addr().unwrap().to_string();
    let words = json!([stage, test_bed.bindings(), test_bed.servers.file(), redis.url().as_str()]).to_string();
    let worker = |_| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([CHILD, "--exact", "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::null()).env(WORKER, &words);
        let process = command.spawn().unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        Worker { process, stream: BufReader::new(stream) }
    };
    (0..PROCESSES).map(worker).collect()
}

#[test]
fn four_processes_need_no_more_tokens_than_one() {
    if let Ok(words) = std::env::var(WORKER) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(work(&serde_json::from_str::<Vec<String>>(&words).unwrap()));
    }
    let (Some(test_bed), Some(redis)) = (TestBed::open(), Redis::start()) else { return };
    let assertion = test_bed.provider.assertion("alice", 10 * TIMEOUT);
    let mut workers = start(&test_bed, &redis);
    let all = |workers: &mut [Worker], line: &str| {
        for worker in workers.iter_mut() {
            worker.send(line);
        }
        let message: Vec<_> = workers.iter_mut().map(Worker::receive).collect();
        assert!(message.iter().all(|message| message == "done"), "{message:?}");
    };
    all(&mut workers, assertion.expose());
    assert_eq!(test_bed.tokens(), (1, 1, 2));
    test_bed.mcp.revoke();
    all(&mut workers, "go on");
    assert_eq!(test_bed.tokens(), (2, 2, 4));
    let calls = test_bed.mcp.requests("tools/call");
    let with = |status: u16| calls.iter().filter(|call| call["status"] == status).count();
    assert_eq!(with(200), PROCESSES * ROUNDS, "every round has its result");
    assert!((1..=PROCESSES).contains(&with(401)), "{}", with(401));
}

/// Runs half of the rounds on each order.
async fn work(words: &[String]) {
    let [stage, bindings, roots, redis] = words else { panic!("{words:?}") };
    let mut stream = BufReader::new(TcpStream::connect(stage).unwrap());
    let mut message = || {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let alice = Principal::User(User::new(Secret::new(message())).unwrap());
    let cache = RedisTokenCache::builder(&redis.parse().unwrap())
        .with_sealing_key(SealingKey::from_base64(&Secret::new(SEALING)).unwrap())
        .with_total_timeout(TIMEOUT);
    let cache = Arc::new(cache.connect().await.unwrap());
    let binding = ServiceBinding::at(bindings);
    let gateway = Gateway::builder(binding.clone(), binding)
        .with_http(HttpClient::builder().with_root_certificates(roots))
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
        let found = gateway.list_tools(&Principal::System, &filter).strict().await.unwrap();
        let arguments = object(json!({ "a": round, "b": 1 }));
        let sum = gateway.call_tool(tool(&found, "orders", "add"), &alice, arguments).await.unwrap();
        assert_eq!(sum.text(), (round + 1).to_string());
    }
    writeln!(stream.get_mut(), "done").unwrap();
}
