//! Servers that reject every token or challenge for other claims, and the number of token requests they cause.

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

/// A manual clock.
#[derive(Debug, Default)]
struct Still(Mutex<Duration>);

impl Clock for Still {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + *self.0.lock().unwrap()
    }
}

/// A provider of `token-1`, `token-2`, … or a constant token.
#[derive(Debug)]
struct Counted {
    calls: AtomicUsize,
    is_constant: bool,
}

#[async_trait]
impl AsyncTokenProvider for Counted {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let number = if self.is_constant { 1 } else { call };
        AccessToken::try_from(request.claims().map_or_else(|| format!("token-{number}"), str::to_owned))
    }
}

struct Bench {
    server: MockServer,
    clock: Arc<Still>,
    provider: Arc<Counted>,
    client: AuthorizedClient,
}

impl Bench {
    async fn new(is_constant: bool, handler: Option<Arc<dyn ChallengeHandler>>) -> Self {
        let server = MockServer::start().await;
        let clock = Arc::new(Still::default());
        let provider = Arc::new(Counted { calls: AtomicUsize::new(0), is_constant });
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

    fn calls(&self) -> usize {
        self.provider.calls.load(Ordering::SeqCst)
    }

    async fn sends(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

#[tokio::test]
async fn server_that_rejects_every_token_costs_few_provider_calls() {
    let bench = Bench::new(false, None).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).mount(&bench.server).await;
    for _ in 0..REQUESTS {
        assert_ne!(bench.get().await, Some(200));
    }
    assert_eq!(bench.calls(), 2, "the first, and one renewal");
    let before = bench.calls();
    *bench.clock.0.lock().unwrap() += Duration::from_secs(61);
    bench.get().await;
    assert_eq!(bench.calls(), before + 1, "it is tried again after a while");
}

#[tokio::test]
async fn success_releases_the_brake() {
    let bench = Bench::new(false, None).await;
    for _ in 0..5 {
        bench.server.reset().await;
        Mock::given(any()).respond_with(ResponseTemplate::new(401)).up_to_n_times(1).mount(&bench.server).await;
        Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&bench.server).await;
        assert_eq!(bench.get().await, Some(200), "a token that was rejected is replaced at once");
    }
}

#[tokio::test]
async fn rejected_token_that_is_returned_again_is_an_error() {
    let bench = Bench::new(true, None).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).mount(&bench.server).await;
    for _ in 0..REQUESTS {
        bench.get().await;
    }
    assert_eq!(bench.sends().await, 1, "the token is not sent again");
    assert!(bench.calls() <= 8, "{}", bench.calls());
}

/// A challenge handler that requests the claims of the challenge.
#[derive(Debug)]
struct Claims;

impl ChallengeHandler for Claims {
    fn answer(&self, challenges: &[Challenge], request: &TokenRequest) -> Option<TokenRequest> {
        Some(request.clone().with_claims(challenges.first()?.parameter("claims")?))
    }
}

#[tokio::test]
async fn challenge_is_remembered_for_the_next_requests() {
    let bench = Bench::new(false, Some(Arc::new(Claims))).await;
    Mock::given(any())
        .respond_with(|request: &wiremock::Request| {
            let headers: HashMap<_, _> = request.headers.iter().collect();
            let is_plain = headers.iter().any(|(_, value)| value.to_str().is_ok_and(|text| text.contains("token-")));
            let challenge = r#"Bearer claims="c1""#;
            if is_plain {
                ResponseTemplate::new(401).insert_header("www-authenticate", challenge)
            } else {
                ResponseTemplate::new(200)
            }
        })
        .mount(&bench.server)
        .await;
    for _ in 0..20 {
        assert_eq!(bench.get().await, Some(200));
    }
    assert_eq!(bench.sends().await, 21);
}
