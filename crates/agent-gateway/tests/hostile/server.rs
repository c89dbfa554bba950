//! An HTTP server that sends raw responses, with one thread for each connection.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A response of the server.
pub(crate) enum Reply {
    /// A JSON body.
    Json(Value),
    /// A JSON body with this text, which may be invalid.
    Text(String),
    /// A status, additional header lines, and a body.
    Raw(u16, &'static str, Vec<u8>),
    /// A status, additional header lines, and no body.
    NoBody(u16, String),
    /// An event stream.
    Events(String),
    /// A content type, the beginning of a body, and a part that is repeated until the client closes the connection.
    Endless(&'static str, String, Vec<u8>),
    /// No response. The connection stays open.
    Nothing,
    /// No response. The server closes the connection.
    Close,
}

/// A request to the server.
pub(crate) struct ReceivedRequest<'a> {
    /// The segment of the path after `mcp`, `a2a` or `cards`.
    pub(crate) case: &'a str,
    /// The method of the JSON-RPC message, or the HTTP method if the body is not a message. `token` for token requests.
    pub(crate) method: &'a str,
    /// The path with its query.
    pub(crate) path: &'a str,
    pub(crate) body: &'a [u8],
    /// The body as JSON, or null.
    pub(crate) message: &'a Value,
    /// The number of earlier requests with the same case and method.
    pub(crate) earlier_count: usize,
    /// The headers, with names in lower case.
    pub(crate) headers: &'a HashMap<String, String>,
}

impl ReceivedRequest<'_> {
    /// Returns a JSON-RPC response with this result.
    pub(crate) fn result(&self, result: &Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": self.message["id"], "result": result })
    }

    /// Returns a response with a list of tools.
    pub(crate) fn tools(&self, tools: &Value) -> Reply {
        Reply::Json(self.result(&json!({ "tools": tools })))
    }
}

/// Starts a server, which runs until the process ends. Returns its port.
pub(crate) fn start(reply: impl Fn(&ReceivedRequest<'_>) -> Reply + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (reply, counts) = (Arc::new(reply), Arc::new(Mutex::new(HashMap::new())));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (reply, counts) = (reply.clone(), counts.clone());
            // The error is ignored: clients may close the connection at any time.
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
        let (mut request_line, mut headers) = (String::new(), HashMap::new());
        if reader.read_line(&mut request_line)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let content_length = headers.get("content-length").and_then(|content_length| content_length.parse().ok());
        let mut body = vec![0; content_length.unwrap_or_default()];
        reader.read_exact(&mut body)?;
        let path = request_line.split(' ').nth(1).unwrap_or_default();
        let case = path
            .split(['/', '?'])
            .skip_while(|part| !matches!(*part, "mcp" | "a2a" | "cards"))
            .nth(1)
            .unwrap_or_default();
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let method = message["method"].as_str().unwrap_or(request_line.split(' ').next().unwrap_or_default());
        if path == "/token" {
            let (message, earlier_count) = (&Value::Null, 0);
            reply(&ReceivedRequest {
                case: "",
                method: "token",
                path,
                body: &body,
                message,
                earlier_count,
                headers: &headers,
            });
            let token = json!({ "access_token": "canary-token", "token_type": "Bearer", "expires_in": 3600 });
            send(&mut stream, Reply::Json(token))?;
            continue;
        }
        let earlier_count = count_request(counts, &format!("{case} {method}"));
        let request =
            ReceivedRequest { case, method, path, body: &body, message: &message, earlier_count, headers: &headers };
        send(&mut stream, reply(&request))?;
    }
}

/// Counts a request. Returns the number of earlier requests with this name.
fn count_request(counts: &Mutex<HashMap<String, usize>>, name: &str) -> usize {
    let mut counts = counts.lock().unwrap();
    let count = counts.entry(name.to_owned()).or_insert(0);
    *count += 1;
    *count - 1
}

fn send(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    let (content_type, body) = match reply {
        Reply::Json(value) => ("application/json", value.to_string()),
        Reply::Text(text) => ("application/json", text),
        Reply::Events(text) => ("text/event-stream", text),
        Reply::Raw(status, headers, body) => {
            write!(stream, "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len())?;
            return stream.write_all(&body);
        }
        Reply::NoBody(status, headers) => {
            return write!(stream, "HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\n\r\n");
        }
        Reply::Endless(content_type, beginning, part) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n{beginning}")?;
            loop {
                stream.write_all(&part)?;
            }
        }
        Reply::Nothing => {
            // Waits until the client closes the connection.
            let _ = stream.read(&mut [0])?;
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        Reply::Close => return Err(std::io::ErrorKind::ConnectionAborted.into()),
    };
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
