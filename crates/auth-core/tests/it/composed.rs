//! Sources in combination with other parts: as the provider of another source, and within a tracing span.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use auth_core::{
    AsyncTokenProvider, Secret, TokenError, TokenKey, TokenRequest, TokenSource, async_provider_fn, static_token,
};
use tracing::Instrument;

#[tokio::test]
async fn source_provides_its_cached_token_to_another_source() {
    let calls = Arc::new(AtomicUsize::new(0));
    let call_counter = calls.clone();
    let provider = async_provider_fn(move |_request| {
        let number = call_counter.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, TokenError>(format!("subject-{number}")) }
    });
    let builder = TokenSource::builder(TokenKey::new("https://issuer.test/"), provider);
    let subject_source = builder.with_identity("ada").build().unwrap();
    for _ in 0..2 {
        let token = subject_source.fetch(&TokenRequest::new()).await.unwrap();
        assert_eq!(token.secret().expose(), "subject-0");
    }
    assert!(subject_source.identity().unwrap().starts_with("token_source "));
    let unnamed_provider = async_provider_fn(|_request| async { Ok::<_, TokenError>("x") });
    assert_eq!(TokenSource::new(TokenKey::new("https://issuer.test/"), unnamed_provider).identity(), None);
    let static_source =
        TokenSource::new(TokenKey::new("https://issuer.test/"), static_token(Secret::new("x")).unwrap());
    assert!(static_source.identity().is_some());
}

#[tokio::test]
async fn attempt_runs_in_the_span_of_its_caller() {
    // This fails if another test of this process has already set the global subscriber.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    let provider = async_provider_fn(|_request| async {
        let span = tracing::Span::current().metadata().map(tracing::Metadata::name);
        Ok::<_, TokenError>(span.unwrap_or("none"))
    });
    let source = TokenSource::new(TokenKey::new("https://issuer.test/"), provider);
    let token = source.token().instrument(tracing::error_span!("the-caller")).await.unwrap();
    assert_eq!(token.secret().expose(), "the-caller");
}

#[test]
fn source_ref_finds_the_cause_of_an_error() {
    let error = TokenError::provider(std::io::Error::other("canary"));
    assert_eq!(error.source_ref::<std::io::Error>().unwrap().kind(), std::io::ErrorKind::Other);
    assert!(error.source_ref::<std::fmt::Error>().is_none());
}
