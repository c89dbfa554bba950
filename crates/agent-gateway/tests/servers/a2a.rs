//! Tests with A2A agents of the official SDK, which run in one process for each test.

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

/// A process with the agents `recipes` and `weather`. It ends when this value is dropped, or with the test process.
struct AgentProcess {
    process: Child,
    commands: ChildStdin,
    responses: Receiver<String>,
    port: u64,
}

impl AgentProcess {
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
        let (sender, responses) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let commands = process.stdin.take().unwrap();
        let mut agent_process = Self { process, commands, responses, port: 0 };
        agent_process.port = agent_process.receive()["port"].as_u64().unwrap();
        Some(agent_process)
    }

    /// Returns the next response of the process.
    fn receive(&self) -> Value {
        serde_json::from_str(&self.responses.recv_timeout(TIMEOUT).unwrap()).unwrap()
    }

    /// Sends a command to the process. Returns the response.
    fn send(&self, command: &Value) -> Value {
        writeln!(&self.commands, "{command}").unwrap();
        self.receive()
    }

    /// Returns the requests to an agent, with their entity tags and statuses.
    fn requests(&self, agent: &str) -> Vec<Value> {
        let Value::Array(requests) = self.send(&json!({}))["requests"].take() else { panic!("no list") };
        let is_to_agent = |request: &Value| request["path"].as_str().unwrap().contains(agent);
        requests.into_iter().filter(is_to_agent).collect()
    }

    /// Returns the address of an agent in this process.
    fn agent(&self, name: &str) -> AgentAddress {
        let url: Url = format!("http://127.0.0.1:{}/v1/a2a/{name}/tenant-1", self.port).parse().unwrap();
        AgentAddress::at(url, name, "tenant-1")
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn builder(agents: Vec<AgentAddress>) -> GatewayBuilder {
    Gateway::builder(Credentials::none(), Vec::new()).with_plain_loopback().with_agents(agents)
}

async fn list_agents(gateway: &Gateway) -> Agents {
    gateway.list_agents(&Principal::System, &AgentFilter::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_of_the_official_sdk_are_listed_next_to_a_missing_one() {
    let Some(agent_process) = AgentProcess::start() else { return };
    let gateway =
        builder(vec![agent_process.agent("recipes"), agent_process.agent("missing"), agent_process.agent("weather")])
            .build();
    let listing = list_agents(&gateway).await;
    let [recipes, weather] = &listing.agents[..] else { panic!("{listing:?}") };
    let card = recipes.card();
    assert_eq!((recipes.id(), card.name(), card.version()), ("recipes", "Recipes", "1.0"));
    let versions: Vec<_> = card.interfaces().iter().map(AgentInterface::protocol_version).collect();
    assert_eq!(versions, ["1.0", "0.3"]);
    assert!(card.interfaces().iter().all(|interface| interface.url() == agent_process.agent("recipes").url()));
    assert!(card.capabilities().streaming() && !card.capabilities().push_notifications());
    assert_eq!((card.skills()[0].id(), card.skills()[0].examples()), ("find", &["Find recipes".to_owned()][..]));
    assert_eq!(weather.card().interfaces().len(), 1);
    let [error] = &listing.errors[..] else { panic!("{:?}", listing.errors) };
    assert_eq!((error.agent(), error.status()), (Some(&agent_process.agent("missing")), Some(404)));
    assert!(error.to_string().contains("`missing` of the tenant `tenant-1`"), "{error}");
    let request = &agent_process.requests("recipes")[0];
    assert!(request["accept"].as_str().unwrap().contains("application/json"), "{request}");
    assert_eq!(request["correlation"].as_str().unwrap().len(), 36, "{request}");
}

#[tokio::test(flavor = "multi_thread")]
async fn entity_tags_of_the_official_sdk_revalidate_cards() {
    let Some(agent_process) = AgentProcess::start() else { return };
    let clock = Arc::new(ManualClock::start());
    let gateway =
        builder(vec![agent_process.agent("recipes"), agent_process.agent("weather")]).with_clock(clock.clone()).build();
    let version = async |index: usize| list_agents(&gateway).await.agents[index].card().version().to_owned();
    assert_eq!((version(0).await, version(1).await), ("1.0".to_owned(), "1.0".to_owned()));
    assert_eq!((agent_process.requests("recipes").len(), agent_process.requests("weather").len()), (1, 1));
    // The card of `recipes` has a lifetime of 60 s. The card of `weather` has the default lifetime.
    clock.advance(Duration::from_secs(61));
    version(0).await;
    let [_, second] = &agent_process.requests("recipes")[..] else { panic!("two requests") };
    assert!(second["status"] == 304 && second["tag"].is_string(), "{second}");
    assert_eq!(agent_process.requests("weather").len(), 1);
    agent_process.send(&json!({ "version": "2.0" }));
    assert_eq!(version(0).await, "1.0", "the 304 extended the lifetime");
    clock.advance(Duration::from_secs(61));
    assert_eq!(
        (version(0).await, agent_process.requests("recipes")[2]["status"].as_u64()),
        ("2.0".to_owned(), Some(200))
    );
    clock.advance(Duration::from_secs(300));
    assert_eq!((version(1).await, agent_process.requests("weather").len()), ("2.0".to_owned(), 2));
}

/// Returns a card of A2A 1.0 and a card of A2A 0.3, with an interface at this URL.
fn current_and_legacy_cards(url: &str) -> [Value; 2] {
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

/// Returns the card, and copies of it in which one field is missing or has a value of another type.
fn card_variants(card: &Value) -> Vec<(String, Value)> {
    let pointers = ["", "/skills/0", "/supportedInterfaces/0"];
    let mut variants = vec![("complete".to_owned(), card.clone())];
    for pointer in pointers {
        let fields = card.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
        for (field, value) in fields {
            let (mut without_field, mut with_other_type) = (card.clone(), card.clone());
            without_field.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(field);
            variants.push((format!("{pointer}/{field} missing"), without_field));
            with_other_type.pointer_mut(pointer).unwrap()[field] =
                if value.is_string() { json!([7]) } else { json!("text") };
            variants.push((format!("{pointer}/{field} of another type"), with_other_type));
        }
    }
    variants
}

/// The cards that only this crate or only the SDK accepts. For A2A 1.0, the decoder of the SDK reads a string as an
/// empty object.
const DIFFERENCES: [&str; 1] = ["A2A 1.0, /capabilities of another type: refused"];

#[tokio::test(flavor = "multi_thread")]
async fn card_validation_agrees_with_the_official_sdk() {
    let Some(agent_process) = AgentProcess::start() else { return };
    let served_cards = Arc::new(std::sync::Mutex::new(Vec::<Value>::new()));
    let cards_of_server = served_cards.clone();
    let port = server::start(move |request| {
        Reply::Json(cards_of_server.lock().unwrap()[request.case.parse::<usize>().unwrap()].clone())
    });
    let [current, legacy] = current_and_legacy_cards(&format!("http://127.0.0.1:{port}/"));
    let variants: Vec<_> = [("1.0", current), ("0.3", legacy)]
        .into_iter()
        .flat_map(|(version, card)| {
            card_variants(&card).into_iter().map(move |(variant, card)| (version, variant, card))
        })
        .collect();
    assert!(variants.len() > 50, "{}", variants.len());
    *served_cards.lock().unwrap() = variants.iter().map(|(_, _, card)| card.clone()).collect();
    let address = |index: usize| {
        AgentAddress::new(format!("http://127.0.0.1:{port}/v1/a2a/{index}/1").parse().unwrap(), index.to_string())
    };
    let listing = list_agents(&builder((0..variants.len()).map(address).collect()).build()).await;
    let mut differences = Vec::new();
    for (index, (version, variant, card)) in variants.iter().enumerate() {
        let is_valid = listing.agents.iter().any(|agent| agent.id() == index.to_string());
        let verdict = &agent_process.send(&json!({ "validate": card }))[version];
        if is_valid != verdict.is_null() {
            differences.push(format!("A2A {version}, {variant}: {}", if is_valid { "accepted" } else { "refused" }));
        }
    }
    assert_eq!(differences, DIFFERENCES);
}
