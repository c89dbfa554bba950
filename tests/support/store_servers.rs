//! Servers of other stores: moto for S3, and Azurite for Azure. Each is a separate process for each test.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use crate::{needs, packages};

/// The deadline of the start of a server.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The account of Azurite and its published key.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running server, which is stopped when this is dropped.
pub(crate) struct StoreServer {
    process: Child,
    pub(crate) port: u16,
    /// The `Authorization` header. moto requires one, but does not verify it.
    authorization: Option<&'static str>,
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl StoreServer {
    /// Starts a server of S3. Returns `None` and reports it if moto is not installed.
    pub(crate) fn moto() -> Option<Self> {
        let python = packages::python("moto", include_str!("../peers/moto/requirements.txt"))?;
        let server = python.parent().unwrap().join("moto_server");
        let signature =
            "AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        Some(Self::start(Some(signature), |port| {
            let mut command = Command::new(&server);
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            command
        }))
    }

    /// Starts a server of Azure's blobs. Returns `None` and reports it if Azurite is not installed.
    pub(crate) fn azurite() -> Option<Self> {
        let packages = packages::installed("azurite", include_str!("../peers/azurite/package-lock.json"))?;
        let script = packages.join("node_modules/azurite/dist/src/blob/main.js");
        Some(Self::start(None, |port| {
            let mut command = Command::new(packages::node(&packages));
            command.arg(&script).args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]);
            command.args(["--silent", "--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
            command
        }))
    }

    fn start(authorization: Option<&'static str>, command: impl Fn(u16) -> Command) -> Self {
        // Another process may bind the port first.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = command(port);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut process = command.spawn().unwrap();
            let end = Instant::now() + TIMEOUT;
            while process.try_wait().unwrap().is_none() {
                assert!(Instant::now() < end, "the server does not start");
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { process, port, authorization };
                }
                std::thread::yield_now();
            }
        }
        panic!("the server does not start")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Creates a bucket of S3.
    pub(crate) fn create_bucket(&self, name: &str) {
        assert_eq!(self.request("PUT", &format!("/{name}"), &[]).0, 200);
    }

    /// Creates a container of Azure whose blobs are public.
    pub(crate) fn create_container(&self, name: &str) {
        let access = [("x-ms-blob-public-access", "blob")];
        let (status, body) = self.signed("PUT", name, Some("restype=container"), &access);
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    }

    /// Deletes a blob of Azure, whose path begins with its container.
    pub(crate) fn delete_blob(&self, path: &str) {
        assert_eq!(self.signed("DELETE", path, None, &[]).0, 202);
    }

    /// Sends a request with the key of the account.
    fn signed(&self, method: &str, path: &str, query: Option<&str>, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let date = command_output(std::process::Command::new("date").args(["-u", "+%a, %d %b %Y %H:%M:%S GMT"]));
        let headers = [headers, &[("x-ms-date", &date), ("x-ms-version", "2021-08-06")]].concat();
        let canonical: String =
            headers.iter().fold(String::new(), |text, (name, value)| text + &format!("{name}:{value}\n"));
        let parameters = query.map(|query| format!("\n{}", query.replace('=', ":"))).unwrap_or_default();
        // The resource begins with the account, followed by the path, which begins with the account, too.
        let resource = format!("/{ACCOUNT}/{ACCOUNT}/{path}{parameters}");
        let string_to_sign = format!("{method}\n\n\n\n\n\n\n\n\n\n\n\n{canonical}{resource}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(ACCOUNT_KEY).unwrap());
        let signature = STANDARD.encode(hmac::sign(&key, string_to_sign.as_bytes()));
        let authorization = format!("SharedKey {ACCOUNT}:{signature}");
        let headers = [&headers[..], &[("authorization", authorization.as_str())]].concat();
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        self.request(method, &format!("/{ACCOUNT}/{path}{query}"), &headers)
    }

    /// Returns an object, or `None` if it does not exist.
    pub(crate) fn get(&self, path: &str) -> Option<Vec<u8>> {
        let (status, body) = self.request("GET", path, &[]);
        (status == 200).then_some(body)
    }

    /// Stores a file as an object of S3, with further headers.
    pub(crate) fn put(&self, path: &str, file: &std::path::Path, headers: &[(&str, &str)]) {
        let mut command = Command::new("curl");
        command.args(["-sSf", "-o", "/dev/null", "-T"]).arg(file);
        let authorization = self.authorization.map(|value| ("authorization", value));
        for (name, value) in headers.iter().chain(authorization.iter()) {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        assert!(command.arg(format!("{}{path}", self.url())).status().unwrap().success(), "{path}");
    }

    /// Sends a request without a body, and returns the status and the body of the response.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, Vec<u8>) {
        let mut command = Command::new("curl");
        command.args(["-sS", "-X", method, "-o", "-", "-w", "\n%{http_code}", "-H", "content-length: 0"]);
        let authorization = self.authorization.map(|value| ("authorization", value));
        for (name, value) in headers.iter().chain(authorization.iter()) {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        let output = command.arg(format!("{}{path}", self.url())).output().unwrap();
        let mut body = output.stdout;
        let separator = body.iter().rposition(|byte| *byte == b'\n').unwrap();
        let status = String::from_utf8(body.split_off(separator)).unwrap().trim().parse().unwrap();
        (status, body)
    }
}

fn command_output(command: &mut Command) -> String {
    let mut text = String::new();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text.trim().to_owned()
}

/// Returns true if curl is installed.
pub(crate) fn has_curl() -> bool {
    let is_installed = needs::has("curl");
    if !is_installed {
        needs::missing("curl", "apt-get install curl");
    }
    is_installed
}
