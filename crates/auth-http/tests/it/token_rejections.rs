//! The number of token requests that a server causes by rejecting every token, or by challenges for other claims.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Authority, BearerPolicy, Challenge, ChallengeHandler, Clock, Destination,
    TokenError, TokenKey, TokenRequest, TokenSource,
};
use auth_http::{AuthorizedClient, HttpClient, Request};
use url::Url;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

const REQUESTS: usize = 100;

#[derive(Debug, Default)]
struct ManualClock(Mutex<Duration>);

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + *self.0.lock().unwrap()
    }
}

/// A provider that counts its calls and returns `token-1`, `token-2`, …, or always `token-1`. For a request with
/// claims, the text of the token is that of the claims.
#[derive(Debug)]
struct CountingProvider {
    calls: AtomicUsize,
    is_constant: bool,
}

#[async_trait]
impl AsyncTokenProvider for CountingProvider {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let number = if self.is_constant { 1 } else { call };
        AccessToken::try_from(request.claims().map_or_else(|| format!("token-{number}"), str::to_owned))
    }
}

struct Fixture {
    server: MockServer,
    clock: Arc<ManualClock>,
    provider: Arc<CountingProvider>,
    client: AuthorizedClient,
}

impl Fixture {
    async fn new(is_constant: bool, handler: Option<Arc<dyn ChallengeHandler>>) -> Self {
        let server = MockServer::start().await;
        let clock = Arc::new(ManualClock::default());
        let provider = Arc::new(CountingProvider { calls: AtomicUsize::new(0), is_constant });
        let source = TokenSource::builder(TokenKey::new("issuer"), provider.clone()).with_clock(clock.clone());
        let destination = Destination::new(Authority::of(&Url::parse(&server.uri()).unwrap())).with_plain_loopback();
        let policy = handler.into_iter().fold(BearerPolicy::new(destination), BearerPolicy::with_challenge_handler);
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        let client = http.authorized(policy, source.build().unwrap());
        Self { server, clock, provider, client }
    }

    async fn get(&self) -> Option<u16> {
        let request = Request::get(Url::parse(&self.server.uri()).unwrap());
        self.client.send(request).await.ok().map(|response| response.status())
    }

    /// Returns the number of provider calls.
    fn calls(&self) -> usize {
        self.provider.calls.load(Ordering::SeqCst)
    }

    /// Returns the number of requests that the server received.
    async fn request_count(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

#[tokio::test]
async fn server_that_rejects_every_token_causes_few_provider_calls() {
    let fixture = Fixture::new(false, None).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).mount(&fixture.server).await;
    for _ in 0..REQUESTS {
        assert_ne!(fixture.get().await, Some(200));
    }
    assert_eq!(fixture.calls(), 2, "the first fetch, and one refresh");
    let calls_before = fixture.calls();
    *fixture.clock.0.lock().unwrap() += Duration::from_secs(61);
    fixture.get().await;
    assert_eq!(fixture.calls(), calls_before + 1, "one more token is obtained after the pause");
}

#[tokio::test]
async fn rejection_after_a_success_is_followed_by_an_immediate_refresh() {
    let fixture = Fixture::new(false, None).await;
    for _ in 0..5 {
        fixture.server.reset().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(401)).up_to_n_times(1).mount(&fixture.server).await;
        Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&fixture.server).await;
        assert_eq!(fixture.get().await, Some(200), "the rejected token is replaced immediately");
    }
}

#[tokio::test]
async fn rejected_token_that_the_provider_returns_again_is_not_sent() {
    let fixture = Fixture::new(true, None).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).mount(&fixture.server).await;
    for _ in 0..REQUESTS {
        fixture.get().await;
    }
    assert_eq!(fixture.request_count().await, 1, "the token is not sent again");
    assert!(fixture.calls() <= 8, "{}", fixture.calls());
}

/// A challenge handler that requests a token with the claims of the challenge.
#[derive(Debug)]
struct ClaimsHandler;

impl ChallengeHandler for ClaimsHandler {
    fn handle(&self, challenges: &[Challenge], request: &TokenRequest) -> Option<TokenRequest> {
        Some(request.clone().with_claims(challenges.first()?.parameter("claims")?))
    }
}

#[tokio::test]
async fn later_requests_use_the_claims_of_a_challenge() {
    let fixture = Fixture::new(false, Some(Arc::new(ClaimsHandler))).await;
    Mock::given(any())
        .respond_with(|request: &wiremock::Request| {
            let headers: HashMap<_, _> = request.headers.iter().collect();
            let has_no_claims =
                headers.iter().any(|(_, value)| value.to_str().is_ok_and(|text| text.contains("token-")));
            let challenge = r#"Bearer claims="c1""#;
            if has_no_claims {
                ResponseTemplate::new(401).insert_header("www-authenticate", challenge)
            } else {
                ResponseTemplate::new(200)
            }
        })
        .mount(&fixture.server)
        .await;
    for _ in 0..20 {
        assert_eq!(fixture.get().await, Some(200));
    }
    assert_eq!(fixture.request_count().await, 21);
}
