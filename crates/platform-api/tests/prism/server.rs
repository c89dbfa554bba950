use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use auth_core::{Authority, BearerPolicy, Destination, Secret, TokenKey, TokenSource, static_token};
use auth_http::HttpClient;
use platform_api::blocking::{Client, OnRuntime, Transport};
use platform_api::{ApiError, ApiRequest, ApiResponse, TransportError};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::operations::SendFunction;
use crate::{document, needs, packages, reference};

const PACKAGE_LOCK: &str = include_str!("../../../../tests/peers/prism/package-lock.json");
/// The workspace folder.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A Prism process, killed when dropped.
pub(crate) struct Prism {
    process: Child,
    folder: TempDir,
    client: Client,
    received: Arc<Mutex<Option<ReceivedRequest>>>,
}

/// A request that a client has sent.
pub(crate) struct ReceivedRequest {
    pub(crate) operation: &'static str,
    pub(crate) url: url::Url,
    pub(crate) body: Option<Value>,
}

/// A transport that records the last request.
#[derive(Debug)]
struct RecordingTransport<T>(T, Arc<Mutex<Option<ReceivedRequest>>>);

impl std::fmt::Debug for ReceivedRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.operation, self.url)
    }
}

impl<T: Transport> Transport for RecordingTransport<T> {
    fn send(&self, request: ApiRequest) -> Result<ApiResponse, TransportError> {
        let body = request.body.as_ref().map(|body| serde_json::from_slice(body).unwrap());
        *self.1.lock().unwrap() =
            Some(ReceivedRequest { operation: request.operation, url: request.url.clone(), body });
        let response = self.0.send(request)?;
        // Prism does not generate this header, because the document does not declare it.
        Ok(if response.status() == 307 { response.with_header("location", "https://storage.test/o") } else { response })
    }
}

impl Prism {
    /// Starts Prism. Returns `None`, with a message, if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let packages = packages::installed("prism", PACKAGE_LOCK)?;
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("openapi.json"), prism_document().to_string()).unwrap();
        // Prism needs a port number. If another process binds the free port first, Prism exits.
        let (process, port) = (0..10).find_map(|_| start_process(&packages, folder.path())).unwrap();
        let root: url::Url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let policy = BearerPolicy::new(Destination::new(Authority::of(&root)).with_plain_loopback());
        let tokens = TokenSource::new(TokenKey::new("issuer"), static_token(Secret::new("a-token")).unwrap());
        let http = HttpClient::builder().with_plain_loopback().build().unwrap().authorized(policy, tokens);
        let received = Arc::default();
        let client = Client::new(RecordingTransport(OnRuntime::new(http).unwrap(), Arc::clone(&received)), root);
        Some(Self { process, folder, client, received })
    }

    /// Sends an operation, and returns the request and the result.
    pub(crate) fn send(&self, name: &str, send: &SendFunction) -> (ReceivedRequest, Result<(), ApiError>) {
        let outcome = send(&self.client);
        let received = self.received.lock().unwrap().take();
        (received.unwrap_or_else(|| panic!("{name} was not sent: {outcome:?}")), outcome)
    }

    /// Returns the last lines of the output of Prism.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap();
        let lines: Vec<_> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

fn start_process(packages: &Path, folder: &Path) -> Option<(Child, u16)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = folder.join("log");
    let mut process = Command::new(packages::node(packages))
        .arg(packages.join("node_modules/@stoplight/prism-cli/dist/index.js"))
        .args(["mock", "--errors", "--host", "127.0.0.1", "--port", &port.to_string()])
        .arg(folder.join("openapi.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Prism is listening") {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            process.wait().unwrap();
            return None;
        }
    }
    std::thread::spawn(move || std::io::copy(&mut output, &mut File::create(log).unwrap()));
    Some((process, port))
}

/// Returns the document in a form that Prism can read. Prism would follow a `$ref` within an example, and would ignore
/// the path of the server.
fn prism_document() -> Value {
    let mut document = reference::document(Path::new(WORKSPACE)).unwrap_or_else(|| {
        needs::absent("the platform's own document", "the project's document is used instead");
        let mut document = document::DOCUMENT.clone();
        add_examples(&mut document);
        document
    });
    remove_example_references(&mut document, false);
    let prefix = document["servers"][0]["url"].as_str().unwrap().to_owned();
    let paths = std::mem::take(document["paths"].as_object_mut().unwrap());
    let paths: Map<_, _> = paths.into_iter().map(|(path, item)| (prefix.clone() + &path, item)).collect();
    document["paths"] = paths.into();
    document["servers"] = Value::Array(Vec::new());
    document
}

/// Adds examples to strings with a pattern. Without an example, Prism responds with a string that does not match.
fn add_examples(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(add_examples),
        Value::Object(members) => {
            let example = match members.get("pattern").and_then(Value::as_str) {
                Some(pattern) if pattern.starts_with("^(0|") => Some("1.0.0"),
                Some(pattern) if pattern.contains("\\/") => Some("image/tiff"),
                _ => None,
            };
            members.values_mut().for_each(add_examples);
            if let Some(example) = example {
                members.insert("example".to_owned(), example.into());
            }
        }
        _ => {}
    }
}

/// Removes `$ref` from examples, where it is not a reference.
fn remove_example_references(value: &mut Value, is_example: bool) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| remove_example_references(value, is_example)),
        Value::Object(members) => {
            members.retain(|name, _| !is_example || name != "$ref");
            for (name, member) in members {
                // A property with one of these names has a type.
                let starts_example = matches!(name.as_str(), "example" | "examples") && member.get("type").is_none();
                remove_example_references(member, is_example || starts_example);
            }
        }
        _ => {}
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
