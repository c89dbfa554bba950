//! Faults, the journal and the clock, through the typed client.

use std::time::Duration;

use auth_http::{HttpClient, Method, Request};
use platform_emulator::{Control, ControlError, Effect, Emulator, Fault, Server};
use serde_json::{Value, json};

use crate::client::{SignedBucket, User, read};

const HOUR: Duration = Duration::from_secs(3600);
const CONTENT: &[u8] = &[7; 100_000];

/// Starts an emulator with control routes, logs in, and stores an object.
async fn user_with_object() -> (User, Control, SignedBucket) {
    let user = User::logged_in_to(Emulator::builder().with_control().start().await.unwrap()).await;
    let bucket = user.bucket().await;
    let put = Request::new(Method::Put, bucket.put("object", HOUR)).with_body("text/plain", CONTENT);
    assert_eq!(user.send(put).await.status(), 200);
    let control = user.emulator.control().unwrap();
    control.clear_journal().await.unwrap();
    (user, control, bucket)
}

fn fault_on_object(effect: Effect) -> Fault {
    Fault::new(effect).on(Server::Storage).with_method("get").with_path("/*/object").times(1)
}

/// Fetches the object. Returns the number of received bytes, and true if the response failed.
async fn fetch(bucket: &SignedBucket) -> (usize, bool) {
    let Ok(mut response) = http().send(Request::get(bucket.get("object", HOUR))).await else { return (0, true) };
    let mut length = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                assert!(chunk.iter().all(|byte| *byte == 7));
                length += chunk.len();
            }
            Ok(None) => return (length, false),
            Err(_) => return (length, true),
        }
    }
}

fn http() -> HttpClient {
    HttpClient::builder().with_plain_loopback().build().unwrap()
}

#[tokio::test]
async fn status_fault_applies_to_its_route_and_count() {
    let (user, control, bucket) = user_with_object().await;
    let unavailable = Effect::Status { status: 503, body: Some(r#"{"detail":"busy"}"#.to_owned()) };
    let fault = Fault::new(unavailable).on(Server::Api).with_path("/api/v1/me").after(1).times(2);
    control.inject(&fault).await.unwrap();
    assert_eq!(control.faults().await.unwrap(), [fault]);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        assert_eq!(user.get("/api/v1/applications").await.0, 200);
        statuses.push(user.get("/api/v1/me").await.0);
    }
    assert_eq!(statuses, [200, 503, 503, 200, 200]);
    assert!(control.faults().await.unwrap().is_empty(), "the fault has occurred the maximum number of times");
    control.inject(&Fault::new(Effect::Status { status: 500, body: None })).await.unwrap();
    assert_eq!(user.get("/api/v1/me").await, (500, Value::Null));
    control.clear_faults().await.unwrap();
    assert_eq!(fetch(&bucket).await, (CONTENT.len(), false));
}

#[tokio::test]
async fn truncated_or_reset_body_fails_after_the_configured_number_of_bytes() {
    let (_user, control, bucket) = user_with_object().await;
    for effect in [Effect::Truncate { after_bytes: 1000 }, Effect::Reset { after_bytes: 1000 }] {
        control.inject(&fault_on_object(effect.clone())).await.unwrap();
        let (length, has_failed) = fetch(&bucket).await;
        assert!(has_failed && length <= 1000, "{effect:?} {length}");
        assert_eq!(fetch(&bucket).await, (CONTENT.len(), false));
    }
    let journal = control.journal(Server::Storage).await.unwrap();
    let bytes: Vec<_> = journal.iter().map(|entry| entry.bytes).collect();
    assert_eq!(bytes, [1000, 100_000, 1000, 100_000]);
}

#[tokio::test]
async fn stalled_body_sends_no_more_bytes_and_does_not_end() {
    let (user, control, bucket) = user_with_object().await;
    control.inject(&fault_on_object(Effect::Stall { after_bytes: 1000 })).await.unwrap();
    let mut response = user.send(Request::get(bucket.get("object", HOUR))).await;
    let mut length = 0;
    while length < 1000 {
        length += response.chunk().await.unwrap().unwrap().len();
    }
    assert_eq!(length, 1000);
    let next_chunk = tokio::time::timeout(Duration::from_millis(100), response.chunk()).await;
    assert!(next_chunk.is_err(), "{next_chunk:?}");
}

#[tokio::test]
async fn corrupt_fault_changes_one_byte_of_the_body() {
    let (user, control, bucket) = user_with_object().await;
    control.inject(&fault_on_object(Effect::Corrupt { at_byte: 54_321 })).await.unwrap();
    let (status, body) = read(user.send(Request::get(bucket.get("object", HOUR))).await).await;
    let changed_positions: Vec<_> = (0..body.len()).filter(|position| body[*position] != CONTENT[*position]).collect();
    assert_eq!((status, body.len(), changed_positions), (200, CONTENT.len(), vec![54_321]));
}

#[tokio::test]
async fn latency_and_bandwidth_faults_delay_the_response() {
    let (_user, control, bucket) = user_with_object().await;
    for effect in [Effect::Latency { milliseconds: 200 }, Effect::Bandwidth { bytes_per_second: 500_000 }] {
        control.inject(&fault_on_object(effect.clone())).await.unwrap();
        let start = tokio::time::Instant::now();
        assert_eq!(fetch(&bucket).await, (CONTENT.len(), false));
        // An upper bound would depend on the machine.
        assert!(start.elapsed() >= Duration::from_millis(150), "{effect:?} {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn storage_faults_return_wrong_ranges_expired_signatures_and_replaced_objects() {
    let (user, control, bucket) = user_with_object().await;
    let range_request = || Request::get(bucket.get("object", HOUR)).with_header("range", "bytes=10-19");
    let before = user.send(range_request()).await;
    assert_eq!(before.header("content-range"), Some("bytes 10-19/100000"));
    control.inject(&fault_on_object(Effect::WrongContentRange)).await.unwrap();
    assert_eq!(user.send(range_request()).await.header("content-range"), Some("bytes 11-20/100000"));
    control.inject(&fault_on_object(Effect::ExpiredSignature)).await.unwrap();
    let (status, body) = read(user.send(range_request()).await).await;
    assert!(status == 400 && String::from_utf8(body).unwrap().contains("ExpiredToken"));
    control.inject(&fault_on_object(Effect::ReplacedObject)).await.unwrap();
    let after = user.send(range_request()).await;
    assert_eq!(after.header("content-range"), Some("bytes 10-19/100000"), "the replacement has the same size");
    assert_ne!(after.header("etag"), before.header("etag"));
    assert_ne!(after.header("x-goog-hash"), before.header("x-goog-hash"));
    let ranges: Vec<_> =
        control.journal(Server::Storage).await.unwrap().into_iter().map(|entry| (entry.range, entry.status)).collect();
    let range = Some("bytes=10-19".to_owned());
    assert_eq!(ranges, [206, 206, 400, 206].map(|status| (range.clone(), status)));
}

#[tokio::test]
async fn novelty_fault_adds_unknown_fields_and_values() {
    let (user, control, _) = user_with_object().await;
    let item = crate::api::item("a", &json!({}));
    let submission = json!({ "application_id": "outcomes", "custom_metadata": { "output": "mine" }, "items": [item] });
    let (_, submitted) = user.submit(&submission).await;
    user.wait_for_end(submitted["run_id"].as_str().unwrap()).await;
    control.inject(&Fault::new(Effect::Novelty).on(Server::Api)).await.unwrap();
    let (status, run) = user.get(&format!("/api/v1/runs/{}", submitted["run_id"].as_str().unwrap())).await;
    assert_eq!((status, run["output"].as_str()), (200, Some("FULL_OF_TOMORROW")));
    assert!(run["field_of_tomorrow"].is_object() && run["statistics"]["field_of_tomorrow"].is_object());
    assert_eq!(run["custom_metadata"], json!({ "output": "mine" }), "metadata of users are not changed");
}

#[tokio::test]
async fn journal_records_which_server_received_a_token() {
    let (user, control, bucket) = user_with_object().await;
    assert_eq!(user.get("/api/v1/me").await.0, 200);
    fetch(&bucket).await;
    let api = control.journal(Server::Api).await.unwrap();
    let storage = control.journal(Server::Storage).await.unwrap();
    assert_eq!((api.len(), api[0].path.as_str(), api[0].authorization), (1, "/api/v1/me", true));
    assert_eq!((storage.len(), storage[0].authorization), (1, false));
    assert!(storage[0].parameters.iter().any(|name| name == "X-Amz-Signature"));
    assert!(!format!("{storage:?}").contains("GOOG"), "the journal contains values of parameters: {storage:?}");
}

#[tokio::test]
async fn shifted_clock_expires_urls_and_tokens() {
    let (user, control, bucket) = user_with_object().await;
    let url = bucket.get("object", Duration::from_secs(60));
    control.shift_clock(120).await.unwrap();
    assert_eq!(user.send(Request::get(url.clone())).await.status(), 400);
    control.shift_clock(-120).await.unwrap();
    assert_eq!(user.send(Request::get(url)).await.status(), 200);
    control.shift_clock(2 * 24 * 60 * 60).await.unwrap();
    assert_eq!(user.get("/api/v1/me").await.0, 401, "the access token has expired");
}

#[tokio::test]
async fn revoked_tokens_and_retired_keys_are_rejected_immediately() {
    let (mut user, control, _) = user_with_object().await;
    control.revoke_tokens("auth0|emulator-1").await.unwrap();
    assert_eq!(user.get("/api/v1/me").await.0, 401);
    user.log_in(None).await;
    assert_eq!(user.get("/api/v1/me").await.0, 200, "a token that is issued after the revocation is valid");
    control.rotate_keys(false).await.unwrap();
    assert_eq!(user.get("/api/v1/me").await.0, 200, "tokens of the previous key are still valid");
    let old_token = user.token().to_owned();
    user.log_in(None).await;
    let header = |token: &str| token.split('.').next().unwrap().to_owned();
    assert_ne!(header(user.token()), header(&old_token), "the new token is signed with the new key");
    control.rotate_keys(true).await.unwrap();
    assert_eq!(user.get("/api/v1/me").await.0, 401, "the previous keys are retired");
}

#[tokio::test]
async fn control_api_requires_the_control_token() {
    let (user, control, _) = user_with_object().await;
    assert!(!format!("{control:?}").contains("token"));
    let api = user.emulator.api_root().clone();
    let forged = Control::new(http(), api.clone(), "guessed");
    let error = forged.clear_faults().await.unwrap_err();
    assert!(matches!(error, ControlError::Rejected { status: 401, .. }), "{error}");
    for (status, body) in [(99, None), (204, Some("x".to_owned())), (304, Some("x".to_owned()))] {
        let invalid = Fault::new(Effect::Status { status, body });
        assert!(matches!(control.inject(&invalid).await.unwrap_err(), ControlError::Rejected { status: 422, .. }));
    }
    assert!(control.revoke_tokens("nobody").await.unwrap_err().to_string().contains("nobody"));

    let without_control = User::anonymous().await;
    assert!(without_control.emulator.control().is_none());
    let control_client = Control::new(http(), without_control.emulator.api_root().clone(), "");
    assert!(matches!(control_client.faults().await.unwrap_err(), ControlError::Rejected { status: 404, .. }));
}

/// Sends a request with these `Host` headers over TCP, because HTTP clients always send exactly one. Returns the
/// status.
async fn status_for_hosts(port: u16, hosts: &[&str]) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let hosts = hosts.iter().fold(String::new(), |lines, host| lines + &format!("host: {host}\r\n"));
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("GET /health HTTP/1.1\r\n{hosts}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn page_of_another_origin_is_rejected() {
    let user = User::anonymous().await;
    let port = user.emulator.api_root().port().unwrap();
    let url = user.emulator.api_root().join("/health").unwrap();
    let status_with = async |headers: &[(&str, &str)]| {
        let request = Request::get(url.clone());
        let request = headers.iter().fold(request, |request, (name, value)| request.with_header(*name, *value));
        user.send(request).await.status()
    };
    for headers in [
        vec![("host", "rebound.example")],
        vec![("host", "rebound.example:80")],
        vec![("origin", "https://evil.example")],
        vec![("origin", "http://localhost:1")],
        vec![("origin", "null")],
    ] {
        assert_eq!(status_with(&headers).await, 403, "{headers:?}");
    }
    for hosts in [vec![], vec!["localhost", "localhost"]] {
        assert_eq!(status_for_hosts(port, &hosts).await, 400, "{hosts:?}");
    }
    let own_origin = format!("http://localhost:{port}");
    for headers in [
        vec![("host", "localhost")],
        vec![("origin", own_origin.as_str())],
        vec![("origin", "null"), ("sec-fetch-site", "same-origin")],
    ] {
        assert_eq!(status_with(&headers).await, 200, "{headers:?}");
    }
}
