//! RFC 7523 against Authlib: the JWT bearer grant for the token of a workload, and assertions of a client.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest};
use auth_http::HttpClient;
use auth_oauth::{ClientCredentials, Endpoints, OAuthClient, PrivateKey, WorkloadIdentity};
use serde_json::{Value, json};

use crate::packages;

const SERVER_PROGRAM: &str = include_str!("../../../../tests/peers/authlib/server.py");
/// The server uses the packages of another peer.
const PEER: &str = "python-clients";
const REQUIREMENTS: &str = include_str!("../../../../tests/peers/python-clients/requirements.txt");

/// A running authorization server. It ends when this value is dropped, or with the test.
struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
    issuer: String,
    machine_key: Secret,
}

impl Server {
    /// Starts the server. Returns `None` and reports it if Authlib is not installed.
    fn start() -> Option<Self> {
        let python = packages::python(PEER, REQUIREMENTS)?;
        let mut command = Command::new(python);
        // Authlib otherwise refuses plain http, also on loopback.
        command.args(["-c", SERVER_PROGRAM]).env("AUTHLIB_INSECURE_TRANSPORT", "1");
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { process, output, issuer: String::new(), machine_key: Secret::new("") };
        let ready = server.receive();
        ready["issuer"].as_str().unwrap().clone_into(&mut server.issuer);
        server.machine_key = Secret::new(ready["machineKey"].as_str().unwrap());
        Some(server)
    }

    fn client(&self, id: &str) -> OAuthClient {
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        let token_url = format!("{}/oauth/token", self.issuer).parse().unwrap();
        OAuthClient::new(http, Endpoints::new(&self.issuer, token_url), id)
    }

    /// Returns an assertion with these properties, which the issuer of the workload tokens has signed.
    fn assertion(&mut self, properties: &Value) -> String {
        self.send(&json!({ "assert": properties }))["assertion"].as_str().unwrap().to_owned()
    }

    /// Returns the parameters of all token requests, without assertions.
    fn received_requests(&mut self) -> Vec<Value> {
        self.send(&json!({}))["asked"].as_array().unwrap().clone()
    }

    fn send(&mut self, command: &Value) -> Value {
        writeln!(self.process.stdin.as_ref().unwrap(), "{command}").unwrap();
        self.receive()
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn exchange(client: OAuthClient, assertion: &str) -> Result<AccessToken, TokenError> {
    let identity = WorkloadIdentity::from_variable_value("ID_TOKEN", Some(Secret::new(assertion)));
    identity.into_jwt_bearer(client).fetch(&TokenRequest::new()).await
}

#[tokio::test]
async fn assertion_in_a_file_is_exchanged_for_a_token() {
    let Some(mut server) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let identity = WorkloadIdentity::file(&path).with_audience(&server.issuer);
    let grant = identity.into_jwt_bearer(server.client("").with_scopes(["runs"]));
    for user in ["ada", "ben"] {
        std::fs::write(&path, server.assertion(&json!({ "subject": user, "seconds": 120 }))).unwrap();
        let token = grant.fetch(&TokenRequest::new()).await.unwrap();
        assert!(token.secret().expose().starts_with(&format!("{user}-")), "the file is read again");
        assert_eq!(token.scopes().collect::<Vec<_>>(), ["runs"]);
        // The server specifies an hour, but the assertion expires earlier.
        #[expect(clippy::disallowed_methods, reason = "the server uses the system clock")]
        let remaining = token.expires_at().unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(remaining <= Duration::from_secs(120) && remaining > Duration::from_secs(60), "{remaining:?}");
    }
    let expected = json!({ "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "scope": "runs" });
    assert_eq!(server.received_requests(), [expected.clone(), expected]);
}

#[tokio::test]
async fn refused_assertion_is_a_refused_credential() {
    let Some(mut server) = Server::start() else { return };
    for properties in [
        json!({ "subject": "eve" }),
        json!({ "subject": "ada", "key": "foreign" }),
        json!({ "subject": "ada", "audience": "https://other.test" }),
        json!({ "subject": "ada", "issuer": "https://other.test" }),
    ] {
        let assertion = server.assertion(&properties);
        let error = exchange(server.client(""), &assertion).await.unwrap_err();
        assert!(error.is_refused(), "{properties}: {error:?}");
        assert!(auth_core::error_chain(&error).contains("invalid_grant"), "{properties}: {error:?}");
        assert!(!format!("{error:?}").contains(&assertion), "{error:?}");
    }
    let request_count = server.received_requests().len();
    let expired = server.assertion(&json!({ "subject": "ada", "seconds": -1 }));
    assert!(exchange(server.client(""), &expired).await.unwrap_err().is_refused());
    assert_eq!(server.received_requests().len(), request_count, "an expired assertion is not sent");
}

#[tokio::test]
async fn unknown_scope_does_not_reject_the_assertion() {
    let Some(mut server) = Server::start() else { return };
    let assertion = server.assertion(&json!({ "subject": "ada" }));
    let error = exchange(server.client("").with_scopes(["everything"]), &assertion).await.unwrap_err();
    assert!(!error.is_refused() && auth_core::error_chain(&error).contains("invalid_scope"), "{error:?}");
}

#[tokio::test]
async fn every_request_has_a_new_client_assertion_of_the_registered_key() {
    let Some(server) = Server::start() else { return };
    let key = PrivateKey::from_pem(&server.machine_key).unwrap();
    let grant = ClientCredentials::new(server.client("machine").with_private_key(key));
    // The server refuses an assertion that it has seen before.
    for _ in 0..2 {
        let token = grant.fetch(&TokenRequest::new()).await.unwrap();
        assert!(token.secret().expose().starts_with("None-"), "the client has no user");
    }
    let other_pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let other_key = PrivateKey::from_pem(&Secret::new(other_pem)).unwrap();
    let grant = ClientCredentials::new(server.client("machine").with_private_key(other_key));
    let error = grant.fetch(&TokenRequest::new()).await.unwrap_err();
    assert!(error.is_refused() && auth_core::error_chain(&error).contains("invalid_client"), "{error:?}");
}
