//! Retries of calls.

use std::sync::Arc;
use std::time::Duration;

use auth_core::{LeaseOutcome, RefreshLease, TokenKey, TokenSource, async_provider_fn};
use auth_oauth::FileTokenStore;
use platform_emulator::{Effect, Fault, Server};
use platform_resources::models::RunSubmission;
use platform_resources::{Client, Settings};
use serde_json::json;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::lab::Lab;

/// Returns a client of a mock platform, with short pauses between attempts.
fn client(server: &MockServer, change: impl FnOnce(&mut Settings)) -> Client {
    let mut settings = Settings::at(&server.uri().parse().unwrap()).unwrap();
    for group in [&mut settings.me, &mut settings.run, &mut settings.application, &mut settings.application_version] {
        group.wait_min = Some(Duration::from_millis(1));
        group.wait_max = Some(Duration::from_millis(2));
        group.attempts = Some(4);
    }
    change(&mut settings);
    Client::builder(settings).with_token_provider(async_provider_fn(|_| async { Ok("external") })).build().unwrap()
}

fn run(id: &str) -> serde_json::Value {
    json!({
        "run_id": id, "application_id": "a", "version_number": "1.0.0", "state": "PENDING", "output": "NONE",
        "submitted_at": "2026-01-01T00:00:00Z", "submitted_by": "u",
        "statistics": {
            "item_count": 0, "item_pending_count": 0, "item_processing_count": 0, "item_user_error_count": 0,
            "item_system_error_count": 0, "item_skipped_count": 0, "item_succeeded_count": 0,
        },
    })
}

async fn request_count(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn transient_read_failures_are_retried_as_configured() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let server = MockServer::start().await;
        let failure = ResponseTemplate::new(status);
        Mock::given(method("GET")).respond_with(failure).up_to_n_times(3).mount(&server).await;
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(200).set_body_json(run("r")))
            .mount(&server)
            .await;
        client(&server, |_| {}).run("r").get().await.unwrap();
        assert_eq!(request_count(&server).await, 4, "{status}");
        let server = MockServer::start().await;
        Mock::given(method("GET")).respond_with(ResponseTemplate::new(status)).mount(&server).await;
        let error = client(&server, |settings| settings.run.attempts = Some(3)).run("r").get().await.unwrap_err();
        assert_eq!((error.api().unwrap().status(), request_count(&server).await), (Some(status), 3));
    }
}

#[tokio::test]
async fn permanent_failure_is_not_retried() {
    for status in [400, 402, 403, 409, 410, 412, 422, 501, 505] {
        let server = MockServer::start().await;
        Mock::given(method("GET")).respond_with(ResponseTemplate::new(status)).mount(&server).await;
        let error = client(&server, |_| {}).run("r").get().await.unwrap_err();
        assert_eq!((error.api().unwrap().status(), request_count(&server).await), (Some(status), 1));
    }
}

#[tokio::test]
async fn second_rejection_of_a_token_is_an_error() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    let error = client(&server, |_| {}).me().await.unwrap_err();
    assert!(error.api().unwrap().is_unauthorized());
    assert!(request_count(&server).await <= 3, "{}", request_count(&server).await);
}

#[tokio::test]
async fn deadline_limits_the_wait_for_the_lock_of_another_process() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    let folder = tempfile::TempDir::new().unwrap();
    let [first_store, second_store] = [(); 2].map(|()| Arc::new(FileTokenStore::new(folder.path())));
    let key = TokenKey::builder("https://issuer.test/").with_identity("user").build();
    let tokens = TokenSource::builder(key, async_provider_fn(|_| async { Ok("external") }));
    let tokens = tokens.with_cache(first_store.clone()).with_lease(first_store).build().unwrap();
    let token = tokens.token().await.unwrap();
    let LeaseOutcome::Acquired(held_lease) = second_store.acquire(tokens.key(), Some(&token)).await.unwrap() else {
        panic!()
    };
    let settings = Settings::at(&server.uri().parse().unwrap()).unwrap();
    let client = Client::builder(settings).with_tokens(tokens).build().unwrap();
    let client = client.with_deadline(Duration::from_millis(300));
    // The timeout of the lock in the store is 60 s.
    let error = tokio::time::timeout(Duration::from_secs(30), client.me()).await.unwrap().unwrap_err();
    assert!(error.api().is_none_or(platform_api::ApiError::is_unauthorized), "{error:?}");
    assert!(request_count(&server).await >= 1);
    held_lease.release().await;
}

#[tokio::test]
async fn deadline_limits_all_attempts_together() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(503)).mount(&server).await;
    let lengthen_pauses = |settings: &mut Settings| {
        settings.run.wait_min = Some(Duration::from_secs(6000));
        settings.run.wait_max = Some(Duration::from_secs(6000));
    };
    let client = client(&server, lengthen_pauses).with_deadline(Duration::from_millis(200));
    let error = client.run("r").get().await.unwrap_err();
    assert_eq!(
        (error.api().unwrap().status(), request_count(&server).await),
        (Some(503), 1),
        "no attempt is left in time"
    );
    let slow_response = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(slow_response).mount(&server).await;
    let client = self::client(&server, |_| {}).with_deadline(Duration::from_millis(100));
    let error = client.run("r").get().await.unwrap_err();
    assert!(error.api().unwrap().is_transient(), "{error:?}");
}

#[tokio::test]
async fn calls_of_a_client_share_one_probe_while_the_platform_fails() {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(503)).up_to_n_times(60).mount(&server).await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200).set_body_json(run("r"))).mount(&server).await;
    let client = client(&server, |settings| settings.run.attempts = None);
    let calls = (0..50).map(|number| {
        let run = client.run(format!("r{number}"));
        async move { run.get().await }
    });
    let outcomes = futures_util::future::join_all(calls).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(
        request_count(&server).await,
        60 + 50,
        "each call fails once, ten probes fail, and no other call is sent until then"
    );
}

#[tokio::test]
async fn retry_after_of_the_platform_is_obeyed_within_the_limit() {
    for (pause, date) in [("3600", None), ("Thu, 01 Jan 2026 01:00:00 GMT", Some("Thu, 01 Jan 2026 00:00:00 GMT"))] {
        let server = MockServer::start().await;
        let busy_response = ResponseTemplate::new(429).insert_header("retry-after", pause);
        let busy_response =
            date.into_iter().fold(busy_response, |busy_response, date| busy_response.insert_header("date", date));
        Mock::given(method("GET")).respond_with(busy_response).mount(&server).await;
        let error = client(&server, |_| {}).run("r").get().await.unwrap_err();
        assert_eq!(request_count(&server).await, 1, "{error}");
        assert!(error.to_string().contains("the server asks to wait for 3600 s, and only 300 s are left"), "{error}");
    }
    let server = MockServer::start().await;
    let busy_response = ResponseTemplate::new(503).insert_header("retry-after", "1");
    Mock::given(method("GET")).respond_with(busy_response).up_to_n_times(1).mount(&server).await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200).set_body_json(run("r"))).mount(&server).await;
    let start = tokio::time::Instant::now();
    client(&server, |_| {}).run("r").get().await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

/// Returns a platform that rejects the first token, and a client whose token provider then fails `failures` times.
async fn with_failing_refresh(failures: u32) -> (MockServer, Client) {
    let server = MockServer::start().await;
    let has_first_token = wiremock::matchers::header("authorization", "Bearer token-0");
    Mock::given(has_first_token).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200).set_body_json(run("r"))).mount(&server).await;
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let provider = async_provider_fn(move |_| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move {
            let is_unavailable = (1..=failures).contains(&call);
            if is_unavailable {
                Err(auth_core::TokenError::provider("503").into_transient())
            } else {
                Ok(format!("token-{call}"))
            }
        }
    });
    let settings = Settings::at(&server.uri().parse().unwrap()).unwrap();
    (server, Client::builder(settings).with_token_provider(provider).build().unwrap())
}

#[tokio::test]
async fn call_succeeds_after_temporary_failures_of_the_refresh() {
    let (_server, client) = with_failing_refresh(3).await;
    client.run("r").get().await.unwrap();
}

#[tokio::test]
async fn failed_refresh_does_not_require_a_login() {
    let (_server, client) = with_failing_refresh(u32::MAX).await;
    let error = client.with_deadline(Duration::from_secs(2)).run("r").get().await.unwrap_err();
    assert!(error.is_transient() && !error.is_login_required(), "{error:?}");
    let (server, _) = with_failing_refresh(u32::MAX).await;
    let mut settings = Settings::at(&server.uri().parse().unwrap()).unwrap();
    settings.retry.limit = Duration::from_millis(300);
    let failing_provider =
        async_provider_fn(|_| async { Err::<String, _>(auth_core::TokenError::provider("503").into_transient()) });
    let error =
        Client::builder(settings).with_token_provider(failing_provider).build().unwrap().me().await.unwrap_err();
    assert!(error.is_transient() && !error.is_login_required(), "{error:?}");
    assert!(error.to_string().starts_with("the identity provider is unavailable; given up after"), "{error}");
    assert_eq!(request_count(&server).await, 0);
}

#[tokio::test]
async fn retry_after_of_the_identity_provider_is_obeyed() {
    let error_with_retry_after = |seconds| {
        auth_core::TokenError::provider("503").into_transient().with_retry_after(Duration::from_secs(seconds))
    };
    let server = MockServer::start().await;
    let provider = async_provider_fn(move |_| async move { Err::<String, _>(error_with_retry_after(3600)) });
    let settings = Settings::at(&server.uri().parse().unwrap()).unwrap();
    let client = Client::builder(settings.clone()).with_token_provider(provider).build().unwrap();
    let error = client.me().await.unwrap_err();
    assert!(error.to_string().contains("the server asks to wait for 3600 s"), "{error}");
    let is_first = std::sync::atomic::AtomicBool::new(true);
    let provider = async_provider_fn(move |_| {
        let is_first = is_first.swap(false, std::sync::atomic::Ordering::SeqCst);
        async move { if is_first { Err(error_with_retry_after(2)) } else { Ok("token".to_owned()) } }
    });
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200).set_body_json(run("r"))).mount(&server).await;
    let start = tokio::time::Instant::now();
    Client::builder(settings).with_token_provider(provider).build().unwrap().run("r").get().await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn creating_request_is_retried_only_if_it_was_not_sent() {
    let free_address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = Settings::at(&format!("http://{free_address}").parse().unwrap()).unwrap();
    settings.retry.unanswered_limit = Duration::from_secs(60);
    let builder = Client::builder(settings).with_token_provider(async_provider_fn(|_| async { Ok("external") }));
    let client = builder.build().unwrap();
    let creation = client.share_tokens();
    let creation = creation.create(platform_resources::models::ShareTokenCreation::new());
    let platform_start = async {
        let listener = std::net::TcpListener::bind(free_address).unwrap();
        let server = MockServer::builder().listener(listener).start().await;
        Mock::given(method("POST")).respond_with(ResponseTemplate::new(503)).mount(&server).await;
        server
    };
    #[expect(clippy::disallowed_methods, reason = "the first attempts fail during this time")]
    let pause = tokio::time::sleep(Duration::from_millis(300));
    let (error, server) = tokio::join!(creation, async {
        pause.await;
        platform_start.await
    });
    assert_eq!((error.unwrap_err().api().unwrap().status(), request_count(&server).await), (Some(503), 1));
}

#[tokio::test]
async fn new_run_is_looked_up_again_if_not_found() {
    let server = MockServer::start().await;
    Mock::given(path("/api/v1/runs/r")).respond_with(ResponseTemplate::new(404)).up_to_n_times(2).mount(&server).await;
    Mock::given(path("/api/v1/runs/r"))
        .respond_with(ResponseTemplate::new(200).set_body_json(run("r")))
        .mount(&server)
        .await;
    let client = client(&server, |_| {});
    assert!(client.run("r").no_wait().get().await.unwrap_err().is_not_found());
    client.run("r").get().await.unwrap();
    assert_eq!(request_count(&server).await, 3);
}

#[tokio::test]
async fn submission_is_sent_once_with_any_fault() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let submission = lab.submission(&slides[..1]).await;
    let control = lab.emulator.control().unwrap();
    for (effect, is_uncertain) in [
        (Effect::Status { status: 503, body: None }, true),
        (Effect::Status { status: 400, body: None }, false),
        (Effect::Reset { after_bytes: 0 }, true),
        (Effect::Truncate { after_bytes: 3 }, true),
        (Effect::Stall { after_bytes: 0 }, true),
    ] {
        let client = {
            let mut settings = crate::lab::settings(&lab.emulator);
            settings.run_submit_timeout = Duration::from_millis(500);
            Client::builder(settings).with_tokens(lab.tokens.clone()).build().unwrap()
        };
        let fault = Fault::new(effect).on(Server::Api).with_path("/api/v1/runs").with_method("POST").times(1);
        control.inject(&fault).await.unwrap();
        let requests_before = lab.request_count("/api/v1/runs").await;
        let error = client.runs().submit(submission.clone()).await.unwrap_err();
        assert_eq!(error.is_submission_uncertain(), is_uncertain, "{error:?}");
        let external_ids = error.uncertain_submission().map(|submission| submission.external_ids.clone());
        assert_eq!(external_ids, is_uncertain.then(|| vec![submission.items[0].external_id.clone()]));
        assert_eq!(lab.request_count("/api/v1/runs").await, requests_before + 1, "{error:?}");
    }
}

#[tokio::test]
async fn submission_is_sent_again_after_a_401() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let submission: RunSubmission = lab.submission(&slides[..1]).await;
    lab.client.runs().dry_run(submission.clone()).await.unwrap();
    lab.emulator.control().unwrap().revoke_tokens("auth0|emulator-1").await.unwrap();
    lab.client.runs().submit(submission).await.unwrap();
    assert_eq!(lab.request_count("/api/v1/runs").await, 2);
}

#[tokio::test]
async fn error_contains_its_causes_and_whether_login_is_required() {
    use std::error::Error;

    let free_address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = Settings::at(&format!("http://{free_address}").parse().unwrap()).unwrap();
    settings.me.attempts = Some(1);
    let builder = Client::builder(settings).with_token_provider(async_provider_fn(|_| async { Ok("external") }));
    let error = builder.build().unwrap().me().await.unwrap_err();
    let chain = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
    let causes: Vec<_> = chain.map(ToString::to_string).collect();
    assert!(causes.len() > 2 && causes.iter().any(|cause| cause.contains(&free_address.to_string())), "{causes:?}");
    assert!(!error.is_login_required());

    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    let refusing_provider =
        async_provider_fn(|_| async { Err::<String, _>(auth_core::TokenError::refused("invalid_grant")) });
    let settings = Settings::at(&server.uri().parse().unwrap()).unwrap();
    let error =
        Client::builder(settings).with_token_provider(refusing_provider).build().unwrap().me().await.unwrap_err();
    assert!(error.is_login_required() && request_count(&server).await == 0, "{error:?}");
    assert!(client(&server, |_| {}).me().await.unwrap_err().is_login_required());
}

#[tokio::test]
async fn deadline_limits_the_wait_for_a_token_and_creating_requests() {
    let server = MockServer::start().await;
    let pending_provider = async_provider_fn(|_| std::future::pending::<Result<String, auth_core::TokenError>>());
    let settings = || Settings::at(&server.uri().parse().unwrap()).unwrap();
    let waiting_client = Client::builder(settings()).with_token_provider(pending_provider).build().unwrap();
    let error = waiting_client.with_deadline(Duration::from_millis(50)).me().await.unwrap_err();
    assert!(error.to_string().contains("timed out"), "{error:?}");
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(201).set_delay(Duration::from_secs(60)))
        .mount(&server)
        .await;
    let client_with_deadline = client(&server, |_| {}).with_deadline(Duration::from_millis(50));
    let token = platform_resources::models::ShareTokenCreation::new();
    assert!(client_with_deadline.share_tokens().create(token).await.unwrap_err().api().unwrap().is_uncertain());
}

#[tokio::test]
async fn short_deadline_does_not_affect_other_callers() {
    let server = MockServer::start().await;
    let slow_response = ResponseTemplate::new(200).set_body_json(run("r")).set_delay(Duration::from_millis(300));
    Mock::given(method("GET")).respond_with(slow_response).mount(&server).await;
    let client = client(&server, |settings| settings.run.attempts = Some(1));
    let run_with_deadline = client.clone().with_deadline(Duration::from_millis(20)).run("r");
    let run_without_deadline = client.run("r");
    let (run_with_deadline, run_without_deadline) = tokio::join!(run_with_deadline.get(), run_without_deadline.get());
    assert!(run_with_deadline.is_err());
    run_without_deadline.unwrap();
}

#[test]
fn client_futures_are_send() {
    fn assert_send<T: Send>(_: T) {}
    let settings = Settings::at(&"https://platform.test".parse().unwrap()).unwrap();
    let client =
        Client::builder(settings).with_token_provider(async_provider_fn(|_| async { Ok("t") })).build().unwrap();
    let submission = RunSubmission::new("a", vec![]);
    let (runs, handle) = (client.runs(), client.run("r"));
    assert_send(client.me());
    assert_send(runs.submit(submission));
    assert_send(runs.list());
    assert_send(handle.wait(None));
    assert_send(handle.watch());
    assert_send(handle.cancel());
    assert_send(handle.edit_metadata(|_| {}));
    assert_send(handle.update_metadata(platform_resources::Patch::Null, None));
}
