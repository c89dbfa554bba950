//! Expired keys, which are used at once and replaced in the background.

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
        let response = Arc::new(Mutex::new(keys(&json!([jwk("key-1", &KEY, Algorithm::RS256)]))));
        let (gate_of_responder, current) = (gate.clone(), response.clone());
        let respond = move |_: &Request| {
            count.send_modify(|count| *count += 1);
            let closed = gate_of_responder.lock().unwrap().take();
            let _opened = closed.map(|gate| gate.recv());
            current.lock().unwrap().clone()
        };
        let issuer = Issuer::with_key_responder(response, respond).await;
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW)));
        let verifier = issuer.verifier().with_clock(clock.clone());
        let expired = Self { issuer, verifier, clock, requests, gate };
        verify_with(&expired.verifier, &expired.known()).await.unwrap();
        expired.clock.advance(DAY);
        expired
    }

    /// Makes the issuer hang on its next request until the gate is dropped.
    fn hang(&self) -> Sender<()> {
        let (gate, opened) = channel();
        *self.gate.lock().unwrap() = Some(opened);
        gate
    }

    fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    async fn requested(&self, count: usize) {
        self.requests.clone().wait_for(|requests| *requests == count).await.unwrap();
    }

    /// Returns a token for a week with a cached key.
    fn known(&self) -> String {
        self.issuer.token(json!({ "exp": NOW + 7 * 86_400 }))
    }

    /// Returns a token for a week with a key that the issuer publishes only after `rotate`.
    fn rotated(&self) -> String {
        let claims = self.issuer.claims(&json!({ "exp": NOW + 7 * 86_400 })).to_string();
        signed_with(r#"{"alg":"RS256","kid":"key-2"}"#, claims, &UNPUBLISHED_KEY, Algorithm::RS256)
    }

    fn rotate(&self) {
        self.issuer.publish(json!([jwk("key-2", &UNPUBLISHED_KEY, Algorithm::RS256)]));
    }

    fn poll(&self, token: &str) -> Poll<Result<Claims, JwtError>> {
        poll(pin!(verify_with(&self.verifier, token)))
    }

    /// Verifies a token with a cached key, and asserts that the verification does not wait.
    #[track_caller]
    fn verify_at_once(&self) {
        let Poll::Ready(outcome) = self.poll(&self.known()) else { panic!("it waits") };
        outcome.unwrap();
    }
}

fn keys(keys: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "keys": keys }))
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn known_key_never_waits_for_a_hanging_issuer() {
    let expired = ExpiredKeys::start().await;
    let _gate = expired.hang();
    for time in [Duration::ZERO, SECOND, ALMOST_A_DAY] {
        expired.clock.advance(time);
        expired.verify_at_once();
        expired.requested(2).await;
        expired.verify_at_once();
    }
}

#[tokio::test]
async fn callers_with_expired_keys_share_one_refresh() {
    let expired = ExpiredKeys::start().await;
    let gate = expired.hang();
    for _ in 0..100 {
        expired.verify_at_once();
    }
    expired.requested(2).await;
    let new = expired.rotated();
    let mut waiting = pin!(verify_with(&expired.verifier, &new));
    assert!(poll(waiting.as_mut()).is_pending());
    expired.rotate();
    drop(gate);
    waiting.await.unwrap();
    assert_eq!(expired.requests(), 2);
    let error = verify_with(&expired.verifier, &expired.known()).await.unwrap_err();
    assert_problem(&error, UnknownKey, "withdrawn");
}

#[tokio::test]
async fn refresh_outlives_the_caller_that_started_it() {
    let expired = ExpiredKeys::start().await;
    let gate = expired.hang();
    let (verifier, known, new) = (expired.verifier.clone(), expired.known(), expired.rotated());
    let caller = tokio::spawn(async move {
        verify_with(&verifier, &known).await.unwrap();
        verify_with(&verifier, &new).await
    });
    expired.requested(2).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    let new = expired.rotated();
    let mut waiting = pin!(verify_with(&expired.verifier, &new));
    assert!(poll(waiting.as_mut()).is_pending());
    expired.rotate();
    drop(gate);
    waiting.await.unwrap();
    assert_eq!(expired.requests(), 2);
}

#[test]
fn refresh_starts_again_after_its_runtime_shuts_down() {
    let first = Builder::new_current_thread().enable_all().build().unwrap();
    // This runtime drives the connections of the client even while `first` runs.
    let second = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let expired = second.block_on(ExpiredKeys::start());
    let gate = expired.hang();
    first.block_on(async {
        expired.verify_at_once();
        expired.requested(2).await;
    });
    drop(first);
    drop(gate);
    second.block_on(async {
        expired.verify_at_once();
        expired.requested(3).await;
    });
}

#[test]
fn expired_keys_are_used_without_a_runtime() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let expired = runtime.block_on(ExpiredKeys::start());
    expired.verify_at_once();
    let Poll::Ready(Err(error)) = expired.poll(&expired.rotated()) else {
        panic!("without a runtime, no event could wake the future")
    };
    assert!(error.is_unavailable() && error.to_string().contains("runtime"), "{error}");
    assert_eq!(expired.requests(), 1);
}

#[tokio::test]
async fn unknown_key_is_found_by_the_refresh_in_flight() {
    let expired = ExpiredKeys::start().await;
    expired.rotate();
    expired.verify_at_once();
    verify_with(&expired.verifier, &expired.rotated()).await.unwrap();
    assert_eq!(expired.requests(), 2);
}

#[tokio::test]
async fn unknown_key_is_rejected_only_after_a_refresh() {
    let expired = ExpiredKeys::start().await;
    assert!(expired.poll(&expired.rotated()).is_pending());
    assert_problem(&verify_with(&expired.verifier, &expired.rotated()).await.unwrap_err(), UnknownKey, "refreshed");
    assert_eq!(expired.requests(), 2);
}

#[tokio::test]
async fn unknown_key_is_unavailable_after_a_failed_refresh() {
    let expired = ExpiredKeys::start().await;
    expired.issuer.respond_with(ResponseTemplate::new(503));
    // The first request is the refresh, and the second is the one search of five minutes.
    for requests in [2, 3, 3] {
        let error = verify_with(&expired.verifier, &expired.rotated()).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().ends_with("503"), "{error}");
        expired.verify_at_once();
        assert_eq!(expired.requests(), requests);
    }
}

#[tokio::test]
async fn unknown_key_is_unavailable_after_the_deadline_of_the_fetch() {
    let expired = ExpiredKeys::start().await;
    let _gate = expired.hang();
    // Paused time jumps to the timeout when nothing else can run.
    tokio::time::pause();
    let error = verify_with(&expired.verifier, &expired.rotated()).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_transient(), "{error}");
    assert!(error.to_string().ends_with("within 10 s"), "{error}");
    expired.verify_at_once();
}

#[tokio::test]
async fn keys_a_day_past_expiry_are_not_used() {
    let expired = ExpiredKeys::start().await;
    expired.clock.advance(DAY);
    assert!(expired.poll(&expired.known()).is_pending());
    verify_with(&expired.verifier, &expired.known()).await.unwrap();
    assert_eq!(expired.requests(), 2);

    expired.clock.advance(2 * DAY);
    expired.issuer.respond_with(ResponseTemplate::new(503));
    let error = verify_with(&expired.verifier, &expired.known()).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_outdated(), "{error}");
    assert_eq!(expired.requests(), 3);
}
