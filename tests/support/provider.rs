//! An identity provider, in a separate process for each test.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use auth_core::Secret;
use auth_http::HttpClient;
use auth_oauth::{Endpoints, JwtVerifier, OAuthClient};
use serde_json::{Value, json};

use crate::packages;

pub(crate) const AUDIENCE: &str = "https://platform.test";
pub(crate) const TOKEN: &str = "/oauth/token";
pub(crate) const JWKS: &str = "/.well-known/jwks.json";
/// The deadline of all operations.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

const PACKAGES: &str = include_str!("../peers/oidc-provider/package-lock.json");
const PROGRAM: &str = include_str!("../peers/oidc-provider/server.mjs");

/// A running provider, which is stopped when this is dropped.
pub(crate) struct Provider {
    process: Child,
    commands: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr_text: File,
    pub(crate) http: HttpClient,
    pub(crate) issuer: String,
    /// The key of the client `machine-key`, in PEM.
    pub(crate) machine_key: Secret,
}

impl Provider {
    /// Starts a provider. Returns `None` and reports it if the provider is not installed.
    pub(crate) fn start() -> Option<Self> {
        let folder = packages::installed("oidc-provider", PACKAGES)?;
        let stderr_text = tempfile::tempfile().unwrap();
        // Node.js finds the modules of a program in an argument below the working folder.
        let mut process = Command::new(packages::node(&folder))
            .args(["--input-type=module", "--eval", PROGRAM])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr_text.try_clone().unwrap())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut provider = Self {
            commands: process.stdin.take(),
            process,
            lines,
            stderr_text,
            http: HttpClient::builder().with_plain_loopback().build().unwrap(),
            issuer: String::new(),
            machine_key: Secret::new(""),
        };
        let ready = provider.receive();
        ready["issuer"].as_str().unwrap().clone_into(&mut provider.issuer);
        provider.machine_key = Secret::new(ready["machineKey"].as_str().unwrap());
        Some(provider)
    }

    /// Returns the client with this name, which returns only verified tokens.
    pub(crate) fn client(&self, id: &str) -> OAuthClient {
        self.trusting_client(id).with_verifier(self.verifier())
    }

    /// Returns the same client without verification.
    pub(crate) fn trusting_client(&self, id: &str) -> OAuthClient {
        OAuthClient::new(self.http.clone(), self.endpoints(), id).with_audience(AUDIENCE)
    }

    pub(crate) fn endpoints(&self) -> Endpoints {
        Endpoints::auth0(&self.issuer.parse().unwrap()).unwrap()
    }

    pub(crate) fn verifier(&self) -> JwtVerifier {
        JwtVerifier::new(self.http.clone(), &self.issuer, AUDIENCE, self.endpoints().jwks.unwrap())
    }

    pub(crate) fn requests(&self, path: &str) -> u64 {
        self.send(&json!({}))["requests"][path].as_u64().unwrap_or_default()
    }

    pub(crate) fn wait_for(&self, path: &str, count: u64) {
        self.send(&json!({ "until": [path, count] }));
    }

    /// Sets the lifetime of new access tokens.
    pub(crate) fn set_token_lifetime(&self, time: Duration) {
        self.send(&json!({ "accessTokenSeconds": time.as_secs() }));
    }

    /// Issues tokens for a resource with these scopes (RFC 8707).
    #[allow(dead_code, reason = "only some tests use it")]
    pub(crate) fn protect(&self, resource: &str, scopes: &str) {
        self.send(&json!({ "resources": { resource: scopes } }));
    }

    /// Publishes the keys with these names, signs with the first one, and deletes all logins.
    pub(crate) fn publish_keys(&self, names: &[&str]) {
        self.send(&json!({ "keys": names }));
    }

    /// Accepts mutual TLS in addition, with this certificate and key, from clients with certificates of `authority`.
    pub(crate) fn listen_for_mutual_tls(&self, (certificate, key): (String, String), authority: &str) {
        self.send(&json!({ "tls": { "cert": certificate, "key": key, "ca": authority } }));
    }

    /// Signs an assertion for a user.
    pub(crate) fn assertion(&self, user: &str, lifetime: Duration) -> Secret {
        let response = self.send(&json!({ "assert": [user, lifetime.as_secs()] }));
        Secret::new(response["assertion"].as_str().unwrap())
    }

    /// Returns the number of tokens issued for a grant.
    pub(crate) fn grants(&self, grant_type: &str) -> u64 {
        self.send(&json!({}))["grants"][grant_type].as_u64().unwrap_or_default()
    }

    /// Returns the parameters of the last token request, without the assertion.
    pub(crate) fn form(&self) -> Value {
        self.send(&json!({}))["form"].clone()
    }

    fn send(&self, command: &Value) -> Value {
        writeln!(self.commands.as_ref().unwrap(), "{command}").unwrap();
        self.receive()
    }

    fn receive(&self) -> Value {
        let response = self.lines.recv_timeout(TIMEOUT).unwrap_or_else(|error| {
            let (mut file, mut stderr_text) = (&self.stderr_text, String::new());
            file.rewind().unwrap();
            file.read_to_string(&mut stderr_text).unwrap();
            panic!("no response from the provider ({error}): {stderr_text}")
        });
        serde_json::from_str(&response).unwrap()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
