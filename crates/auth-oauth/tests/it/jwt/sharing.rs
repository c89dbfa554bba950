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

use super::forge::{assert_problem, good_claims, signed};
use super::verify_with;
use crate::issuer::{Issuer, KEY, jwk};

/// Verifies a hundred tokens at once, and counts those that were refused because of an unknown key.
async fn storm(verifier: &JwtVerifier, token: impl Fn(usize) -> String) -> usize {
    let mut callers = JoinSet::new();
    for number in 0..100 {
        let (verifier, token) = (verifier.clone(), token(number));
        callers.spawn(async move { verify_with(&verifier, &token).await });
    }
    let outcomes = callers.join_all().await;
    let errors: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    for error in &errors {
        assert_problem(error, UnknownKey, "storm");
    }
    errors.len()
}

/// Returns a valid token that names an unpublished key.
fn unknown(number: usize, claims: &str) -> String {
    signed(format!(r#"{{"alg":"RS256","kid":"unknown-{number}"}}"#), claims)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_who_need_keys_share_one_fetch() {
    let issuer = Issuer::start().await;
    let good = issuer.token(json!({}));
    assert_eq!(storm(&issuer.verifier(), |_| good.clone()).await, 0);
    assert_eq!(issuer.fetches().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_unknown_keys_at_once_cause_one_fetch() {
    let issuer = Issuer::start().await;
    let claims = good_claims(&issuer);
    let verifier = issuer.verifier();
    verify_with(&verifier, &issuer.token(json!({}))).await.unwrap();
    for fetches in [2, 2] {
        assert_eq!(storm(&verifier, |number| unknown(number, &claims)).await, 100);
        assert_eq!(issuer.fetches().await, fetches);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundred_tokens_with_a_new_key_share_one_fetch() {
    let issuer = Issuer::start().await;
    let verifier = issuer.verifier();
    verify_with(&verifier, &issuer.token(json!({}))).await.unwrap();
    issuer.publish(json!([jwk("key-2", &KEY, Algorithm::RS256)]));
    let new = signed(r#"{"alg":"RS256","kid":"key-2"}"#, good_claims(&issuer));
    assert_eq!(storm(&verifier, |_| new.clone()).await, 0);
    assert_eq!(issuer.fetches().await, 2);
}

#[tokio::test]
async fn hundred_unknown_keys_are_searched_in_one_fetch() {
    let issuer = Issuer::start().await;
    let claims = good_claims(&issuer);
    assert_eq!(storm(&issuer.verifier(), |number| unknown(number, &claims)).await, 100);
    assert_eq!(issuer.fetches().await, 1);
}

#[tokio::test]
async fn a_hundred_who_wait_share_one_failure() {
    let issuer = Issuer::start().await;
    issuer.answer(ResponseTemplate::new(503));
    let (verifier, good) = (issuer.verifier(), issuer.token(json!({})));
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let (verifier, good) = (verifier.clone(), good.clone());
        callers.spawn(async move { verify_with(&verifier, &good).await });
    }
    assert!(callers.join_all().await.into_iter().all(|outcome| outcome.unwrap_err().is_transient()));
    assert_eq!(issuer.fetches().await, 1);
}

/// An issuer that reports each request for its keys, and responds when the test allows it.
struct Hesitant {
    issuer: Issuer,
    asked: Arc<Notify>,
    /// Dropping this sender makes the issuer respond at once.
    gate: Sender<()>,
}

impl Hesitant {
    async fn start() -> Self {
        let asked = Arc::new(Notify::new());
        let (gate, opened) = channel();
        let (bell, opened): (_, Mutex<Receiver<()>>) = (asked.clone(), Mutex::new(opened));
        let keys = json!({ "keys": [jwk("key-1", &KEY, Algorithm::RS256)] });
        let respond = move |_: &Request| {
            bell.notify_one();
            let _closed = opened.lock().unwrap().recv();
            ResponseTemplate::new(200).set_body_json(&keys)
        };
        let unused = Arc::new(Mutex::new(ResponseTemplate::new(500)));
        Self { issuer: Issuer::answering(unused, respond).await, asked, gate }
    }

    /// Starts to verify `token`, and cancels when the issuer has received a request for keys.
    async fn give_up(&self, verifier: &JwtVerifier, token: &str) {
        tokio::select! {
            outcome = verify_with(verifier, token) => panic!("the issuer has not responded yet: {outcome:?}"),
            () = self.asked.notified() => {}
        }
    }
}

#[tokio::test]
async fn a_dropped_caller_does_not_break_the_fetch_for_the_others() {
    let hesitant = Hesitant::start().await;
    let (verifier, good) = (hesitant.issuer.verifier(), hesitant.issuer.token(json!({})));
    hesitant.give_up(&verifier, &good).await;
    let (others, late) = (verifier.clone(), good.clone());
    let other = tokio::spawn(async move { verify_with(&others, &good).await });
    tokio::task::yield_now().await;
    drop(hesitant.gate);
    other.await.unwrap().unwrap();
    verify_with(&verifier, &late).await.unwrap();
    assert_eq!(hesitant.issuer.fetches().await, 1);
}

#[test]
fn fetch_is_repeated_by_a_waiter_if_its_runtime_ends() {
    let runtime = || -> Runtime { Builder::new_current_thread().enable_all().build().unwrap() };
    let (first, second) = (runtime(), runtime());
    let hesitant = second.block_on(Hesitant::start());
    let (verifier, good) = (hesitant.issuer.verifier(), hesitant.issuer.token(json!({})));
    first.block_on(hesitant.give_up(&verifier, &good));
    let mut waiting = pin!(verify_with(&verifier, &good));
    {
        let _inside = second.enter();
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    drop(first);
    drop(hesitant.gate);
    second.block_on(waiting).unwrap();
    assert_eq!(second.block_on(hesitant.issuer.fetches()), 2);
}

#[test]
fn fetch_on_an_idle_runtime_is_started_anew_by_its_joiners() {
    let runtime = || -> Runtime { Builder::new_current_thread().enable_all().build().unwrap() };
    let (idle, other) = (runtime(), runtime());
    let hesitant = other.block_on(Hesitant::start());
    let (verifier, good) = (hesitant.issuer.verifier(), hesitant.issuer.token(json!({})));
    idle.block_on(hesitant.give_up(&verifier, &good));
    other.block_on(async {
        let mut joining = pin!(verify_with(&verifier, &good));
        tokio::time::pause();
        assert!(poll_fn(|context| Poll::Ready(joining.as_mut().poll(context).is_pending())).await);
        tokio::time::advance(Duration::from_secs(21)).await;
        tokio::time::resume();
        drop(hesitant.gate);
        joining.await.unwrap();
        assert_eq!(hesitant.issuer.fetches().await, 2);
    });
}

#[test]
fn missing_runtime_is_an_error_of_the_fetch() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let issuer = runtime.block_on(Issuer::start());
    let (verifier, good) = (issuer.verifier(), issuer.token(json!({})));
    let mut verifying = pin!(verify_with(&verifier, &good));
    let std::task::Poll::Ready(outcome) = verifying.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("no event would wake it");
    };
    let error = outcome.unwrap_err();
    assert!(!error.is_invalid() && error.to_string().contains("runtime"), "{error}");
}
