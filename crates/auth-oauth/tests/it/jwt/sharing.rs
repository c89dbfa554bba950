//! Concurrent callers that need the same keys, and callers that are dropped.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use auth_oauth::JwtProblem::UnknownKey;
use auth_oauth::JwtVerifier;
use jsonwebtoken::Algorithm;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use wiremock::{Request, ResponseTemplate};

use super::handcrafted::{assert_problem, signed, valid_claims};
use super::verify_with;
use crate::issuer::{Issuer, KEY, jwk};

/// Verifies a hundred tokens concurrently. Returns the number of tokens that were refused because of an unknown key.
async fn verify_concurrently(verifier: &JwtVerifier, token: impl Fn(usize) -> String) -> usize {
    let mut callers = JoinSet::new();
    for number in 0..100 {
        let (verifier, token) = (verifier.clone(), token(number));
        callers.spawn(async move { verify_with(&verifier, &token).await });
    }
    let outcomes = callers.join_all().await;
    let errors: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    for error in &errors {
        assert_problem(error, UnknownKey, "concurrent");
    }
    errors.len()
}

/// Returns a valid token that names an unpublished key.
fn token_with_unknown_key(number: usize, claims: &str) -> String {
    signed(format!(r#"{{"alg":"RS256","kid":"unknown-{number}"}}"#), claims)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundred_concurrent_callers_share_one_fetch() {
    let issuer = Issuer::start().await;
    let token = issuer.token(json!({}));
    assert_eq!(verify_concurrently(&issuer.verifier(), |_| token.clone()).await, 0);
    assert_eq!(issuer.key_fetch_count().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundred_concurrent_unknown_keys_cause_one_fetch() {
    let issuer = Issuer::start().await;
    let claims = valid_claims(&issuer);
    let verifier = issuer.verifier();
    verify_with(&verifier, &issuer.token(json!({}))).await.unwrap();
    for fetches in [2, 2] {
        assert_eq!(verify_concurrently(&verifier, |number| token_with_unknown_key(number, &claims)).await, 100);
        assert_eq!(issuer.key_fetch_count().await, fetches);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundred_tokens_with_a_new_key_share_one_fetch() {
    let issuer = Issuer::start().await;
    let verifier = issuer.verifier();
    verify_with(&verifier, &issuer.token(json!({}))).await.unwrap();
    issuer.publish(json!([jwk("key-2", &KEY, Algorithm::RS256)]));
    let new_key_token = signed(r#"{"alg":"RS256","kid":"key-2"}"#, valid_claims(&issuer));
    assert_eq!(verify_concurrently(&verifier, |_| new_key_token.clone()).await, 0);
    assert_eq!(issuer.key_fetch_count().await, 2);
}

#[tokio::test]
async fn hundred_unknown_keys_are_searched_in_one_fetch() {
    let issuer = Issuer::start().await;
    let claims = valid_claims(&issuer);
    assert_eq!(verify_concurrently(&issuer.verifier(), |number| token_with_unknown_key(number, &claims)).await, 100);
    assert_eq!(issuer.key_fetch_count().await, 1);
}

#[tokio::test]
async fn hundred_concurrent_callers_share_one_failed_fetch() {
    let issuer = Issuer::start().await;
    issuer.respond_with(ResponseTemplate::new(503));
    let (verifier, token) = (issuer.verifier(), issuer.token(json!({})));
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let (verifier, token) = (verifier.clone(), token.clone());
        callers.spawn(async move { verify_with(&verifier, &token).await });
    }
    assert!(callers.join_all().await.into_iter().all(|outcome| outcome.unwrap_err().is_transient()));
    assert_eq!(issuer.key_fetch_count().await, 1);
}

/// An issuer that reports each request for its keys, and responds when the test allows it.
struct GatedIssuer {
    issuer: Issuer,
    requested: Arc<Notify>,
    /// Dropping this sender makes the issuer respond at once.
    gate: Sender<()>,
}

impl GatedIssuer {
    async fn start() -> Self {
        let requested = Arc::new(Notify::new());
        let (gate, gate_receiver) = channel();
        let (request_signal, gate_receiver): (_, Mutex<Receiver<()>>) = (requested.clone(), Mutex::new(gate_receiver));
        let keys = json!({ "keys": [jwk("key-1", &KEY, Algorithm::RS256)] });
        let respond = move |_: &Request| {
            request_signal.notify_one();
            let _opened = gate_receiver.lock().unwrap().recv();
            ResponseTemplate::new(200).set_body_json(&keys)
        };
        let unused_response = Arc::new(Mutex::new(ResponseTemplate::new(500)));
        Self { issuer: Issuer::with_key_responder(unused_response, respond).await, requested, gate }
    }

    /// Starts to verify `token`, and cancels the verification when the issuer has received a request for keys.
    async fn cancel_verification(&self, verifier: &JwtVerifier, token: &str) {
        tokio::select! {
            outcome = verify_with(verifier, token) => panic!("the issuer has not responded yet: {outcome:?}"),
            () = self.requested.notified() => {}
        }
    }
}

#[tokio::test]
async fn fetch_continues_if_the_caller_that_started_it_is_dropped() {
    let gated = GatedIssuer::start().await;
    let (verifier, token) = (gated.issuer.verifier(), gated.issuer.token(json!({})));
    gated.cancel_verification(&verifier, &token).await;
    let (other_verifier, late_token) = (verifier.clone(), token.clone());
    let other_caller = tokio::spawn(async move { verify_with(&other_verifier, &token).await });
    tokio::task::yield_now().await;
    drop(gated.gate);
    other_caller.await.unwrap().unwrap();
    verify_with(&verifier, &late_token).await.unwrap();
    assert_eq!(gated.issuer.key_fetch_count().await, 1);
}

#[test]
fn fetch_is_repeated_by_a_waiter_if_its_runtime_ends() {
    let runtime = || -> Runtime { Builder::new_current_thread().enable_all().build().unwrap() };
    let (first_runtime, second_runtime) = (runtime(), runtime());
    let gated = second_runtime.block_on(GatedIssuer::start());
    let (verifier, token) = (gated.issuer.verifier(), gated.issuer.token(json!({})));
    first_runtime.block_on(gated.cancel_verification(&verifier, &token));
    let mut waiting_verification = pin!(verify_with(&verifier, &token));
    {
        let _inside = second_runtime.enter();
        assert!(waiting_verification.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    drop(first_runtime);
    drop(gated.gate);
    second_runtime.block_on(waiting_verification).unwrap();
    assert_eq!(second_runtime.block_on(gated.issuer.key_fetch_count()), 2);
}

#[test]
fn fetch_on_an_idle_runtime_is_restarted_by_its_waiters() {
    let runtime = || -> Runtime { Builder::new_current_thread().enable_all().build().unwrap() };
    let (idle_runtime, other_runtime) = (runtime(), runtime());
    let gated = other_runtime.block_on(GatedIssuer::start());
    let (verifier, token) = (gated.issuer.verifier(), gated.issuer.token(json!({})));
    idle_runtime.block_on(gated.cancel_verification(&verifier, &token));
    other_runtime.block_on(async {
        let mut waiting_verification = pin!(verify_with(&verifier, &token));
        tokio::time::pause();
        assert!(poll_fn(|context| Poll::Ready(waiting_verification.as_mut().poll(context).is_pending())).await);
        tokio::time::advance(Duration::from_secs(21)).await;
        tokio::time::resume();
        drop(gated.gate);
        waiting_verification.await.unwrap();
        assert_eq!(gated.issuer.key_fetch_count().await, 2);
    });
}

#[test]
fn missing_runtime_is_an_error_of_the_fetch() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let issuer = runtime.block_on(Issuer::start());
    let (verifier, token) = (issuer.verifier(), issuer.token(json!({})));
    let mut verification = pin!(verify_with(&verifier, &token));
    let std::task::Poll::Ready(outcome) = verification.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("no event could wake the future");
    };
    let error = outcome.unwrap_err();
    assert!(!error.is_invalid() && error.to_string().contains("runtime"), "{error}");
}
