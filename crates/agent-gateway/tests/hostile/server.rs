//! A server of raw responses, one thread for each connection.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

pub(crate) enum Reply {
    /// A JSON body.
    Json(Value),
    /// A JSON body of this text.
    Text(String),
    /// A status, further header lines, and a body.
    Raw(u16, &'static str, Vec<u8>),
    /// A status, further header lines, and no body.
    Head(u16, String),
    /// An event stream.
    Events(String),
    /// The beginning of a body of this type, and a part that is repeated until the client closes the connection.
    Endless(&'static str, String, Vec<u8>),
    /// No response.
    Nothing,
    /// The end of the connection.
    Close,
}

/// A request: the case, its method, its id, and the number of earlier requests of this method.
pub(crate) struct ReceivedRequest<'a> {
    pub(crate) case: &'a str,
    pub(crate) method: &'a str,
    /// The path with its query.
    pub(crate) path: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) message: &'a Value,
    pub(crate) earlier: usize,
    /// The headers, with names in lower case.
    pub(crate) headers: &'a HashMap<String, String>,
}

impl ReceivedRequest<'_> {
    pub(crate) fn result(&self, result: &Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": self.message["id"], "result": result })
    }

    pub(crate) fn tools(&self, tools: &Value) -> Reply {
        Reply::Json(self.result(&json!({ "tools": tools })))
    }
}

/// Starts the server, which ends with the process. Returns its port.
pub(crate) fn start(reply: impl Fn(&ReceivedRequest<'_>) -> Reply + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (reply, counts) = (Arc::new(reply), Arc::new(Mutex::new(HashMap::new())));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (reply, counts) = (reply.clone(), counts.clone());
            // A client that closes the connection is expected.
            std::thread::spawn(move || serve(stream, &*reply, &counts).ok());
        }
    });
    port
}

fn serve(
    mut stream: TcpStream,
    reply: &(dyn Fn(&ReceivedRequest<'_>) -> Reply + Send + Sync),
    counts: &Mutex<HashMap<String, usize>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut first, mut headers) = (String::new(), HashMap::new());
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        reader.read_exact(&mut body)?;
        let path = first.split(' ').nth(1).unwrap_or_default();
        // The segment after `mcp`, `a2a` or `cards`.
        let case = path
            .split(['/', '?'])
            .skip_while(|part| !matches!(*part, "mcp" | "a2a" | "cards"))
            .nth(1)
            .unwrap_or_default();
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let method = message["method"].as_str().unwrap_or(first.split(' ').next().unwrap_or_default());
        if path == "/token" {
            let (message, earlier) = (&Value::Null, 0);
            reply(&ReceivedRequest {
                case: "",
                method: "token",
                path,
                body: &body,
                message,
                earlier,
                headers: &headers,
            });
            let token = json!({ "access_token": "canary-token", "token_type": "Bearer", "expires_in": 3600 });
            send(&mut stream, Reply::Json(token))?;
            continue;
        }
        let earlier = count(counts, &format!("{case} {method}"));
        let request =
            ReceivedRequest { case, method, path, body: &body, message: &message, earlier, headers: &headers };
        send(&mut stream, reply(&request))?;
    }
}

/// Counts a request. Returns the number of earlier ones.
fn count(counts: &Mutex<HashMap<String, usize>>, name: &str) -> usize {
    let mut counts = counts.lock().unwrap();
    let count = counts.entry(name.to_owned()).or_insert(0);
    *count += 1;
    *count - 1
}

fn send(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    let (kind, body) = match reply {
        Reply::Json(value) => ("application/json", value.to_string()),
        Reply::Text(text) => ("application/json", text),
        Reply::Events(text) => ("text/event-stream", text),
        Reply::Raw(status, headers, body) => {
            write!(stream, "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len())?;
            return stream.write_all(&body);
        }
        Reply::Head(status, headers) => {
            return write!(stream, "HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n");
        }
        Reply::Endless(kind, begin, part) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n{begin}")?;
            loop {
                stream.write_all(&part)?;
            }
        }
        Reply::Nothing => {
            // Until the client closes the connection.
            let _ = stream.read(&mut [0])?;
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        Reply::Close => return Err(std::io::ErrorKind::ConnectionAborted.into()),
    };
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
