//! The response cache: separation of principals, lifetimes and invalidation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth_core::{Secret, TokenRequest, async_provider_fn};
use futures_util::future::join_all;
use platform_emulator::{Emulator, Server};
use platform_resources::models::{RunSubmission, ShareTokenCreation};
use platform_resources::{Client, Patch, Viewer};
use platform_testkit::ManualClock;
use serde_json::json;

use crate::lab::{Lab, settings};

impl Lab {
    /// Returns the number of requests for a path of the API.
    pub(crate) async fn request_count(&self, path: &str) -> usize {
        let journal = self.emulator.control().unwrap().journal(Server::Api).await.unwrap();
        journal.iter().filter(|entry| entry.path == path).count()
    }
}

/// Returns access tokens of Ada and Ben, who belong to the same organization.
async fn tokens(emulator: &Emulator) -> [String; 2] {
    let token_of = async |user: &str| crate::login::access_token(emulator, user).await;
    [token_of("auth0|emulator-1").await, token_of("auth0|emulator-2").await]
}

#[tokio::test]
async fn response_is_cached_and_fetched_once_for_all_callers() {
    let clock = Arc::new(ManualClock::default());
    let lab = Lab::open().await;
    let client = Client::builder(settings(&lab.emulator)).with_tokens(lab.tokens.clone());
    let client = client.with_clock(clock.clone()).build().unwrap();
    let responses = join_all((0..16).map(|_| client.me())).await;
    assert!(responses.iter().all(Result::is_ok));
    assert_eq!(lab.request_count("/api/v1/me").await, 1);
    clock.advance(Duration::from_secs(299));
    client.me().await.unwrap();
    assert_eq!(lab.request_count("/api/v1/me").await, 1);
    clock.advance(Duration::from_secs(2));
    client.me().await.unwrap();
    assert_eq!(lab.request_count("/api/v1/me").await, 2);
    // A caller that bypasses the cache refreshes it for the others.
    clock.advance(Duration::from_secs(200));
    client.clone().no_cache().me().await.unwrap();
    assert_eq!(lab.request_count("/api/v1/me").await, 3);
    clock.advance(Duration::from_secs(200));
    client.me().await.unwrap();
    assert_eq!(lab.request_count("/api/v1/me").await, 3);
}

#[tokio::test]
async fn dropped_caller_keeps_the_response_for_others() {
    let lab = Lab::open().await;
    let (first, second) = (lab.client.clone(), lab.client.clone());
    let dropped_call = tokio::spawn(async move { first.me().await });
    let other_call = tokio::spawn(async move { second.me().await });
    tokio::task::yield_now().await;
    dropped_call.abort();
    other_call.await.unwrap().unwrap();
    assert!(lab.request_count("/api/v1/me").await <= 2);
}

#[tokio::test]
async fn alternating_users_never_share_a_response() {
    let lab = Lab::open().await;
    let [ada, ben] = tokens(&lab.emulator).await;
    let turn = Arc::new(AtomicUsize::new(0));
    let provider = async_provider_fn(move |_| {
        let token = if turn.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { ada.clone() } else { ben.clone() };
        async move { Ok(token) }
    });
    let client = Client::builder(settings(&lab.emulator)).with_token_provider(provider).without_token_cache();
    let client = client.build().unwrap();
    for _ in 0..10 {
        assert_eq!(client.me().await.unwrap().user.id, "auth0|emulator-1");
        assert_eq!(client.me().await.unwrap().user.id, "auth0|emulator-2");
    }
    assert_eq!(lab.request_count("/api/v1/me").await, 2, "the response to each token is cached");
}

#[tokio::test]
async fn named_users_have_separate_tokens_and_responses() {
    let lab = Lab::open().await;
    let [ada, ben] = tokens(&lab.emulator).await;
    let provider = async_provider_fn(move |request: TokenRequest| {
        let token = if request.subject() == Some("ada") { ada.clone() } else { ben.clone() };
        async move { Ok(token) }
    });
    let client = Client::builder(settings(&lab.emulator)).with_token_provider(provider).build().unwrap();
    let client_of = |name: &str| client.clone().with_token_request(TokenRequest::new().with_subject(name));
    for _ in 0..3 {
        assert_eq!(client_of("ada").me().await.unwrap().user.id, "auth0|emulator-1");
        assert_eq!(client_of("ben").me().await.unwrap().user.id, "auth0|emulator-2");
    }
}

#[tokio::test]
async fn forged_token_gets_no_cached_response() {
    let lab = Lab::open().await;
    let [ada, _] = tokens(&lab.emulator).await;
    let (signed_part, _) = ada.rsplit_once('.').unwrap();
    let forged = format!("{signed_part}.forged");
    let serves_forged_token = Arc::new(AtomicUsize::new(0));
    let serves_forged = serves_forged_token.clone();
    let provider = async_provider_fn(move |_| {
        let token = if serves_forged.load(Ordering::SeqCst) > 0 { forged.clone() } else { ada.clone() };
        async move { Ok(token) }
    });
    let client = Client::builder(settings(&lab.emulator)).with_token_provider(provider).without_token_cache();
    let client = client.build().unwrap();
    client.me().await.unwrap();
    serves_forged_token.store(1, Ordering::SeqCst);
    let error = client.me().await.unwrap_err();
    assert!(error.api().unwrap().is_unauthorized(), "{error:?}");
}

#[tokio::test]
async fn write_invalidates_only_affected_responses() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let run = lab.client.runs().submit(lab.submission(&slides[..1]).await).await.unwrap();
    let ended_run = run.wait(None).await.unwrap();
    let path = format!("/api/v1/runs/{}", run.id());
    run.get().await.unwrap();
    lab.client.me().await.unwrap();
    let (run_requests, me_requests) = (lab.request_count(&path).await, lab.request_count("/api/v1/me").await);
    run.get().await.unwrap();
    assert_eq!(lab.request_count(&path).await, run_requests, "the response is cached");
    let metadata = json!({ "study": "b" }).as_object().unwrap().clone();
    run.update_metadata(metadata.clone(), None).await.unwrap();
    let changed = run.get().await.unwrap();
    assert_eq!(changed.custom_metadata, Some(metadata));
    assert_ne!(changed.custom_metadata_checksum, ended_run.custom_metadata_checksum);
    lab.client.me().await.unwrap();
    assert_eq!(
        (lab.request_count(&path).await, lab.request_count("/api/v1/me").await),
        (run_requests + 1, me_requests)
    );
    run.update_metadata(Patch::Null, None).await.unwrap();
    assert!(run.get().await.unwrap().custom_metadata.is_none_or(|metadata| metadata.is_empty()));
}

#[tokio::test]
async fn share_token_responses_are_cached_separately() {
    let lab = Lab::open().await;
    let slides = lab.slides();
    let run = lab.client.runs().submit(lab.submission(&slides[..1]).await).await.unwrap();
    run.wait(None).await.unwrap();
    let created = lab.client.share_tokens().create(ShareTokenCreation::new()).await.unwrap();
    run.share_with(Viewer::ShareToken(created.share_token_id.to_string())).await.unwrap();
    // A user of another organization.
    let cleo = crate::login::access_token(&lab.emulator, "auth0|second-1").await;
    let provider = async_provider_fn(move |_| {
        let token = cleo.clone();
        async move { Ok(token) }
    });
    let stranger = Client::builder(settings(&lab.emulator)).with_token_provider(provider).build().unwrap();
    let stranger_run = stranger.run(run.id().as_str()).no_wait();
    assert!(stranger_run.get().await.is_err());
    let shared_run = stranger_run.clone().with_share_token(created.share_token.clone());
    assert_eq!(shared_run.get().await.unwrap().run_id, *run.id());
    assert!(stranger_run.get().await.is_err(), "the response with the share token is not returned without it");
    let run_with_wrong_token = stranger_run.with_share_token(Secret::new("canary-wrong"));
    let error = run_with_wrong_token.get().await.unwrap_err();
    assert!(!format!("{error:?} {run_with_wrong_token:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn submission_invalidates_the_list_of_runs() {
    use futures_util::TryStreamExt;

    let lab =
        Lab::at(Emulator::builder().with_control().with_config(toml::from_str("replica_lag_ms = 0").unwrap())).await;
    let count = async || lab.client.runs().list().try_collect::<Vec<_>>().await.unwrap().len();
    assert_eq!(count().await, 0);
    let slides = lab.slides();
    let submission: RunSubmission = lab.submission(&slides[..1]).await;
    lab.client.runs().submit(submission).await.unwrap();
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn all_resources_work_with_any_token_cache() {
    use auth_oauth::FileTokenStore;
    use futures_util::TryStreamExt;

    let lab = Lab::open().await;
    let slides = lab.slides();
    let [ada, _] = tokens(&lab.emulator).await;
    let provider = || {
        let token = ada.clone();
        async_provider_fn(move |_| {
            let token = token.clone();
            async move { Ok(token) }
        })
    };
    let store = Arc::new(FileTokenStore::new(lab.folder.path().join("tokens")));
    let builder = || Client::builder(settings(&lab.emulator)).with_token_provider(provider()).with_identity("ada");
    for builder in [
        builder(),
        builder().without_token_cache(),
        builder().with_token_cache(Arc::new(platform_testkit::RemoteStore::new())),
        builder().with_token_cache(store.clone()).with_token_lease(store.clone()),
        // Another process, which finds the token in the file.
        Client::builder(settings(&lab.emulator))
            .with_token_provider(async_provider_fn(|_| async {
                Err::<String, _>(auth_core::TokenError::refused("nobody"))
            }))
            .with_identity("ada")
            .with_token_cache(store.clone())
            .with_token_lease(store.clone()),
    ] {
        let client = builder.build().unwrap();
        assert_eq!(client.me().await.unwrap().user.id, "auth0|emulator-1");
        let run = client.runs().submit(lab.submission(&slides[..1]).await).await.unwrap();
        run.wait(None).await.unwrap();
        assert_eq!(run.items().try_collect::<Vec<_>>().await.unwrap().len(), 1);
        assert!(!client.applications().list().try_collect::<Vec<_>>().await.unwrap().is_empty());
        assert!(client.grants().list().try_collect::<Vec<_>>().await.unwrap().is_empty());
        assert!(client.share_tokens().list().try_collect::<Vec<_>>().await.unwrap().is_empty());
    }
    let error = Client::builder(settings(&lab.emulator)).build().unwrap_err();
    assert!(error.to_string().contains("with_token_provider"), "{error}");
}
