//! A2A agents of the official SDK, in a separate process per test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use agent_gateway::{
    AgentAddress, AgentFilter, AgentInterface, Agents, Credentials, Gateway, GatewayBuilder, Principal,
};
use serde_json::{Value, json};
use url::Url;

use crate::clock::ManualClock;
use crate::packages;
use crate::provider::TIMEOUT;
use crate::server::{self, Reply};

const REQUIREMENTS: &str = include_str!("../../../../tests/peers/a2a/requirements.txt");
const PROGRAM: &str = include_str!("../../../../tests/peers/a2a/server.py");

/// Two agents. They end when this is dropped, or with the test process.
struct Peer {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    port: u64,
}

impl Peer {
    /// Starts the agents. Returns `None`, with a message, if they are not installed.
    fn start() -> Option<Self> {
        let python = packages::python("a2a", REQUIREMENTS)?;
        let mut process = Command::new(python)
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (say, answers) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let commands = process.stdin.take().unwrap();
        let mut peer = Self { process, commands, answers, port: 0 };
        peer.port = peer.answer()["port"].as_u64().unwrap();
        Some(peer)
    }

    fn answer(&self) -> Value {
        serde_json::from_str(&self.answers.recv_timeout(TIMEOUT).unwrap()).unwrap()
    }

    fn tell(&self, command: &Value) -> Value {
        writeln!(&self.commands, "{command}").unwrap();
        self.answer()
    }

    /// Returns the entity tags and statuses of the requests to an agent so far.
    fn requests(&self, agent: &str) -> Vec<Value> {
        let Value::Array(requests) = self.tell(&json!({}))["requests"].take() else { panic!("no list") };
        let at_agent = |request: &Value| request["path"].as_str().unwrap().contains(agent);
        requests.into_iter().filter(at_agent).collect()
    }

    fn agent(&self, name: &str) -> AgentAddress {
        let url: Url = format!("http://127.0.0.1:{}/v1/a2a/{name}/tenant-1", self.port).parse().unwrap();
        AgentAddress::at(url, name, "tenant-1")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn builder(agents: Vec<AgentAddress>) -> GatewayBuilder {
    Gateway::builder(Credentials::none(), Vec::new()).with_plain_loopback().with_agents(agents)
}

async fn listed(gateway: &Gateway) -> Agents {
    gateway.list_agents(&Principal::System, &AgentFilter::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_of_the_official_sdk_are_listed_next_to_a_missing_one() {
    let Some(peer) = Peer::start() else { return };
    let gateway = builder(vec![peer.agent("recipes"), peer.agent("nowhere"), peer.agent("weather")]).build();
    let found = listed(&gateway).await;
    let [recipes, weather] = &found.agents[..] else { panic!("{found:?}") };
    let card = recipes.card();
    assert_eq!((recipes.id(), card.name(), card.version()), ("recipes", "Recipes", "1.0"));
    let versions: Vec<_> = card.interfaces().iter().map(AgentInterface::protocol_version).collect();
    assert_eq!(versions, ["1.0", "0.3"]);
    assert!(card.interfaces().iter().all(|interface| interface.url() == peer.agent("recipes").url()));
    assert!(card.capabilities().streaming() && !card.capabilities().push_notifications());
    assert_eq!((card.skills()[0].id(), card.skills()[0].examples()), ("find", &["Find recipes".to_owned()][..]));
    assert_eq!(weather.card().interfaces().len(), 1);
    let [missing] = &found.errors[..] else { panic!("{:?}", found.errors) };
    assert_eq!((missing.agent(), missing.status()), (Some(&peer.agent("nowhere")), Some(404)));
    assert!(missing.to_string().contains("`nowhere` of the tenant `tenant-1`"), "{missing}");
    let request = &peer.requests("recipes")[0];
    assert!(request["accept"].as_str().unwrap().contains("application/json"), "{request}");
    assert_eq!(request["correlation"].as_str().unwrap().len(), 36, "{request}");
}

#[tokio::test(flavor = "multi_thread")]
async fn entity_tags_of_the_official_sdk_revalidate_cards() {
    let Some(peer) = Peer::start() else { return };
    let clock = Arc::new(ManualClock::start());
    let gateway = builder(vec![peer.agent("recipes"), peer.agent("weather")]).with_clock(clock.clone()).build();
    let version = async |place: usize| listed(&gateway).await.agents[place].card().version().to_owned();
    assert_eq!((version(0).await, version(1).await), ("1.0".to_owned(), "1.0".to_owned()));
    assert_eq!((peer.requests("recipes").len(), peer.requests("weather").len()), (1, 1));
    // `recipes` states 60 s, and `weather` nothing.
    clock.advance(Duration::from_secs(61));
    version(0).await;
    let [_, second] = &peer.requests("recipes")[..] else { panic!("two requests") };
    assert!(second["status"] == 304 && second["tag"].is_string(), "{second}");
    assert_eq!(peer.requests("weather").len(), 1);
    peer.tell(&json!({ "version": "2.0" }));
    assert_eq!(version(0).await, "1.0", "the 304 has extended the lifetime");
    clock.advance(Duration::from_secs(61));
    assert_eq!((version(0).await, peer.requests("recipes")[2]["status"].as_u64()), ("2.0".to_owned(), Some(200)));
    clock.advance(Duration::from_secs(300));
    assert_eq!((version(1).await, peer.requests("weather").len()), ("2.0".to_owned(), 2));
}

/// Returns a card of A2A 1.0, and one of A2A 0.3, which have an interface at this URL.
fn cards(url: &str) -> [Value; 2] {
    let base = json!({
        "name": "A", "description": "d", "version": "1", "capabilities": { "streaming": true },
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [{ "id": "i", "name": "n", "description": "d", "tags": ["t"] }],
    });
    let (mut current, mut legacy) = (base.clone(), base);
    current["supportedInterfaces"] = json!([{ "url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0" }]);
    legacy["url"] = json!(url);
    legacy["protocolVersion"] = json!("0.3.0");
    [current, legacy]
}

/// Returns the card, and copies of it in which one field is missing, or has a value of another type.
fn variants(card: &Value) -> Vec<(String, Value)> {
    let pointers = ["", "/skills/0", "/supportedInterfaces/0"];
    let mut variants = vec![("complete".to_owned(), card.clone())];
    for pointer in pointers {
        let fields = card.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
        for (field, value) in fields {
            let (mut without, mut wrong) = (card.clone(), card.clone());
            without.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(field);
            variants.push((format!("{pointer}/{field} missing"), without));
            wrong.pointer_mut(pointer).unwrap()[field] = if value.is_string() { json!([7]) } else { json!("text") };
            variants.push((format!("{pointer}/{field} of another type"), wrong));
        }
    }
    variants
}

/// The cards that only this crate, or only the SDK, accepts. The decoder of the SDK for A2A 1.0 reads a text as an object
/// without known members.
const DIFFERENCES: [&str; 1] = ["A2A 1.0, /capabilities of another type: refused"];

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_on_cards_are_those_of_the_official_sdk() {
    let Some(peer) = Peer::start() else { return };
    let served = Arc::new(std::sync::Mutex::new(Vec::<Value>::new()));
    let cards_of_server = served.clone();
    let port = server::start(move |asked| {
        Reply::Json(cards_of_server.lock().unwrap()[asked.case.parse::<usize>().unwrap()].clone())
    });
    let [current, legacy] = cards(&format!("http://127.0.0.1:{port}/"));
    let variants: Vec<_> = [("1.0", current), ("0.3", legacy)]
        .into_iter()
        .flat_map(|(version, card)| variants(&card).into_iter().map(move |(what, card)| (version, what, card)))
        .collect();
    assert!(variants.len() > 50, "{}", variants.len());
    *served.lock().unwrap() = variants.iter().map(|(_, _, card)| card.clone()).collect();
    let address = |place: usize| {
        AgentAddress::new(format!("http://127.0.0.1:{port}/v1/a2a/{place}/1").parse().unwrap(), place.to_string())
    };
    let found = listed(&builder((0..variants.len()).map(address).collect()).build()).await;
    let mut differences = Vec::new();
    for (place, (version, what, card)) in variants.iter().enumerate() {
        let is_valid = found.agents.iter().any(|agent| agent.id() == place.to_string());
        let verdict = &peer.tell(&json!({ "validate": card }))[version];
        if is_valid != verdict.is_null() {
            differences.push(format!("A2A {version}, {what}: {}", if is_valid { "accepted" } else { "refused" }));
        }
    }
    assert_eq!(differences, DIFFERENCES);
}
