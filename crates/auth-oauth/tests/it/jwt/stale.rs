//! Expired keys. They are used without waiting, and replaced in the background.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use auth_oauth::JwtProblem::UnknownKey;
use auth_oauth::{Claims, JwtError, JwtVerifier};
use jsonwebtoken::Algorithm;
use platform_testkit::ManualClock;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::watch;
use wiremock::{Request, ResponseTemplate};

use super::handcrafted::{assert_problem, signed_with};
use super::verify_with;
use crate::issuer::{Issuer, KEY, NOW, UNPUBLISHED_KEY, jwk};

const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);
const ALMOST_A_DAY: Duration = Duration::from_secs(86_400 - 2);

/// A verifier with expired keys, and their issuer.
struct ExpiredKeys {
    issuer: Issuer,
    verifier: JwtVerifier,
    clock: Arc<ManualClock>,
    /// The number of requests for keys.
    requests: watch::Receiver<usize>,
    gate: Arc<Mutex<Option<Receiver<()>>>>,
}

impl ExpiredKeys {
    async fn start() -> Self {
        let (count, requests) = watch::channel(0);
        let gate = Arc::<Mutex<Option<Receiver<()>>>>::default();
        let response = Arc::new(Mutex::new(key_set_response(&json!([jwk("key-1", &KEY, Algorithm::RS256)]))));
        let (gate_of_responder, current) = (gate.clone(), response.clone());
        let respond = move |_: &Request| {
            count.send_modify(|count| *count += 1);
            let gate = gate_of_responder.lock().unwrap().take();
            let _opened = gate.map(|gate| gate.recv());
            current.lock().unwrap().clone()
        };
        let issuer = Issuer::with_key_responder(response, respond).await;
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW)));
        let verifier = issuer.verifier().with_clock(clock.clone());
        let expired_keys = Self { issuer, verifier, clock, requests, gate };
        verify_with(&expired_keys.verifier, &expired_keys.known_key_token()).await.unwrap();
        expired_keys.clock.advance(DAY);
        expired_keys
    }

    /// Makes the issuer hang on its next request until the gate is dropped.
    fn hang_next_request(&self) -> Sender<()> {
        let (gate, opened) = channel();
        *self.gate.lock().unwrap() = Some(opened);
        gate
    }

    fn request_count(&self) -> usize {
        *self.requests.borrow()
    }

    async fn wait_for_requests(&self, count: usize) {
        self.requests.clone().wait_for(|requests| *requests == count).await.unwrap();
    }

    /// Returns a token with a cached key. It is valid for a week.
    fn known_key_token(&self) -> String {
        self.issuer.token(json!({ "exp": NOW + 7 * 86_400 }))
    }

    /// Returns a token with a key that the issuer publishes only after `rotate_keys`. It is valid for a week.
    fn new_key_token(&self) -> String {
        let claims = self.issuer.claims(&json!({ "exp": NOW + 7 * 86_400 })).to_string();
        signed_with(r#"{"alg":"RS256","kid":"key-2"}"#, claims, &UNPUBLISHED_KEY, Algorithm::RS256)
    }

    fn rotate_keys(&self) {
        self.issuer.publish(json!([jwk("key-2", &UNPUBLISHED_KEY, Algorithm::RS256)]));
    }

    fn poll(&self, token: &str) -> Poll<Result<Claims, JwtError>> {
        poll(pin!(verify_with(&self.verifier, token)))
    }

    /// Verifies a token with a cached key, and asserts that the verification does not wait.
    #[track_caller]
    fn assert_verified_without_waiting(&self) {
        let Poll::Ready(outcome) = self.poll(&self.known_key_token()) else { panic!("the verification waits") };
        outcome.unwrap();
    }
}

fn key_set_response(keys: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "keys": keys }))
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn known_key_never_waits_for_a_hanging_issuer() {
    let expired_keys = ExpiredKeys::start().await;
    let _gate = expired_keys.hang_next_request();
    for time in [Duration::ZERO, SECOND, ALMOST_A_DAY] {
        expired_keys.clock.advance(time);
        expired_keys.assert_verified_without_waiting();
        expired_keys.wait_for_requests(2).await;
        expired_keys.assert_verified_without_waiting();
    }
}

#[tokio::test]
async fn callers_with_expired_keys_share_one_refresh() {
    let expired_keys = ExpiredKeys::start().await;
    let gate = expired_keys.hang_next_request();
    for _ in 0..100 {
        expired_keys.assert_verified_without_waiting();
    }
    expired_keys.wait_for_requests(2).await;
    let new_token = expired_keys.new_key_token();
    let mut waiting_verification = pin!(verify_with(&expired_keys.verifier, &new_token));
    assert!(poll(waiting_verification.as_mut()).is_pending());
    expired_keys.rotate_keys();
    drop(gate);
    waiting_verification.await.unwrap();
    assert_eq!(expired_keys.request_count(), 2);
    let error = verify_with(&expired_keys.verifier, &expired_keys.known_key_token()).await.unwrap_err();
    assert_problem(&error, UnknownKey, "withdrawn");
}

#[tokio::test]
async fn refresh_outlives_the_caller_that_started_it() {
    let expired_keys = ExpiredKeys::start().await;
    let gate = expired_keys.hang_next_request();
    let (verifier, known_token, new_token) =
        (expired_keys.verifier.clone(), expired_keys.known_key_token(), expired_keys.new_key_token());
    let caller = tokio::spawn(async move {
        verify_with(&verifier, &known_token).await.unwrap();
        verify_with(&verifier, &new_token).await
    });
    expired_keys.wait_for_requests(2).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    let new_token = expired_keys.new_key_token();
    let mut waiting_verification = pin!(verify_with(&expired_keys.verifier, &new_token));
    assert!(poll(waiting_verification.as_mut()).is_pending());
    expired_keys.rotate_keys();
    drop(gate);
    waiting_verification.await.unwrap();
    assert_eq!(expired_keys.request_count(), 2);
}

#[test]
fn refresh_starts_again_after_its_runtime_shuts_down() {
    let first_runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // This runtime drives the connections of the client even while `first_runtime` runs.
    let second_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let expired_keys = second_runtime.block_on(ExpiredKeys::start());
    let gate = expired_keys.hang_next_request();
    first_runtime.block_on(async {
        expired_keys.assert_verified_without_waiting();
        expired_keys.wait_for_requests(2).await;
    });
    drop(first_runtime);
    drop(gate);
    second_runtime.block_on(async {
        expired_keys.assert_verified_without_waiting();
        expired_keys.wait_for_requests(3).await;
    });
}

#[test]
fn expired_keys_are_used_without_a_runtime() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let expired_keys = runtime.block_on(ExpiredKeys::start());
    expired_keys.assert_verified_without_waiting();
    let Poll::Ready(Err(error)) = expired_keys.poll(&expired_keys.new_key_token()) else {
        panic!("without a runtime, no event could wake the future")
    };
    assert!(error.is_unavailable() && error.to_string().contains("runtime"), "{error}");
    assert_eq!(expired_keys.request_count(), 1);
}

#[tokio::test]
async fn unknown_key_is_found_by_the_refresh_in_flight() {
    let expired_keys = ExpiredKeys::start().await;
    expired_keys.rotate_keys();
    expired_keys.assert_verified_without_waiting();
    verify_with(&expired_keys.verifier, &expired_keys.new_key_token()).await.unwrap();
    assert_eq!(expired_keys.request_count(), 2);
}

#[tokio::test]
async fn unknown_key_is_rejected_only_after_a_refresh() {
    let expired_keys = ExpiredKeys::start().await;
    assert!(expired_keys.poll(&expired_keys.new_key_token()).is_pending());
    assert_problem(
        &verify_with(&expired_keys.verifier, &expired_keys.new_key_token()).await.unwrap_err(),
        UnknownKey,
        "refreshed",
    );
    assert_eq!(expired_keys.request_count(), 2);
}

#[tokio::test]
async fn unknown_key_is_unavailable_after_a_failed_refresh() {
    let expired_keys = ExpiredKeys::start().await;
    expired_keys.issuer.respond_with(ResponseTemplate::new(503));
    // The first request is the refresh. The second is the fetch for the unknown key, which is sent once in five
    // minutes.
    for requests in [2, 3, 3] {
        let error = verify_with(&expired_keys.verifier, &expired_keys.new_key_token()).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().ends_with("503"), "{error}");
        expired_keys.assert_verified_without_waiting();
        assert_eq!(expired_keys.request_count(), requests);
    }
}

#[tokio::test]
async fn unknown_key_is_unavailable_after_the_deadline_of_the_fetch() {
    let expired_keys = ExpiredKeys::start().await;
    let _gate = expired_keys.hang_next_request();
    // Paused time jumps to the timeout when nothing else can run.
    tokio::time::pause();
    let error = verify_with(&expired_keys.verifier, &expired_keys.new_key_token()).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_transient(), "{error}");
    assert!(error.to_string().ends_with("within 10 s"), "{error}");
    expired_keys.assert_verified_without_waiting();
}

#[tokio::test]
async fn keys_a_day_past_expiry_are_not_used() {
    let expired_keys = ExpiredKeys::start().await;
    expired_keys.clock.advance(DAY);
    assert!(expired_keys.poll(&expired_keys.known_key_token()).is_pending());
    verify_with(&expired_keys.verifier, &expired_keys.known_key_token()).await.unwrap();
    assert_eq!(expired_keys.request_count(), 2);

    expired_keys.clock.advance(2 * DAY);
    expired_keys.issuer.respond_with(ResponseTemplate::new(503));
    let error = verify_with(&expired_keys.verifier, &expired_keys.known_key_token()).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_outdated(), "{error}");
    assert_eq!(expired_keys.request_count(), 3);
}
