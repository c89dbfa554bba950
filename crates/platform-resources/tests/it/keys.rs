//! Configurations that differ in one part never share a token, with any cache. Equal configurations do.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Clock, Secret, SystemClock, TokenError, TokenKey, TokenRequest, TokenSource,
    static_token,
};
use auth_http::HttpClient;
use auth_oauth::{ClientCredentials, Endpoints, JwtBearer, OAuthClient, RefreshGrant, TokenExchange, TokenType};
use platform_resources::{Client, Settings};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::authority::Authority;
use crate::stores::SharedCache;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    ClientCredentials,
    JwtBearer,
    TokenExchange,
    Refresh,
    /// A closure. Its principal is the identity that is set on the builder.
    Closure,
}

const GRANTS: [Grant; 5] =
    [Grant::ClientCredentials, Grant::JwtBearer, Grant::TokenExchange, Grant::Refresh, Grant::Closure];

/// The parts of an `OAuthClient` that affect tokens.
const CLIENT_PARTS: [&str; 11] = [
    "issuer",
    "token endpoint origin",
    "token endpoint path",
    "client id",
    "audience",
    "resource",
    "scopes",
    "parameter name",
    "parameter value",
    "organization",
    "certificate",
];

impl Grant {
    /// Returns the parts that affect the tokens of this grant.
    fn parts(self) -> Vec<&'static str> {
        let specific: &[_] = match self {
            Self::ClientCredentials => &[],
            Self::JwtBearer | Self::Refresh | Self::Closure => &["principal"],
            Self::TokenExchange => &["principal", "subject type", "requested type"],
        };
        [&CLIENT_PARTS, specific].concat()
    }
}

/// A grant, and the parts that have a changed value.
#[derive(Clone, Debug)]
struct Config {
    grant: Grant,
    changed: BTreeSet<&'static str>,
}

impl Config {
    fn unchanged(grant: Grant) -> Self {
        Self { grant, changed: BTreeSet::new() }
    }

    /// Returns the configuration without a change, and those with exactly one changed part.
    fn neighbors(grant: Grant) -> Vec<Self> {
        let changed = grant.parts().into_iter().map(|part| Self { grant, changed: [part].into() });
        std::iter::once(Self::unchanged(grant)).chain(changed).collect()
    }

    /// Returns the configurations with all combinations of changed parts.
    fn all(grant: Grant) -> impl Iterator<Item = Self> {
        let parts = grant.parts();
        (0..1_usize << parts.len()).map(move |bits| {
            let changed = parts.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
            Self { grant, changed: changed.map(|(_, part)| *part).collect() }
        })
    }

    fn pick<T>(&self, part: &str, unchanged: T, changed: T) -> T {
        if self.changed.contains(part) { changed } else { unchanged }
    }

    fn client(&self, http_clients: &HttpClients) -> OAuthClient {
        let origin = self.pick("token endpoint origin", "https://one.test", "https://two.test");
        let path = self.pick("token endpoint path", "/one/token", "/two/token");
        let issuer = self.pick("issuer", "https://issuer.test/one", "https://issuer.test/two");
        let endpoints = Endpoints::new(issuer, format!("{origin}{path}").parse().unwrap());
        let http_client = self.pick("certificate", &http_clients.0, &http_clients.1);
        OAuthClient::new(http_client.clone(), endpoints, self.pick("client id", "client-1", "client-2"))
            .with_audience(self.pick("audience", "audience-1", "audience-2"))
            .with_resource(self.pick("resource", "https://one.test/", "https://two.test/").parse().unwrap())
            .with_scopes(self.pick("scopes", vec!["a", "b"], vec!["a"]))
            .with_parameter(self.pick("parameter name", "extra", "other"), self.pick("parameter value", "1", "2"))
            .with_organization(self.pick("organization", "org-1", "org-2"))
    }

    /// Returns the grant as a token provider, or the identity of a closure as `Err`.
    fn provider(&self, client: OAuthClient) -> Result<Arc<dyn AsyncTokenProvider>, &'static str> {
        let principal = self.pick("principal", "ada", "cleo");
        let assertions = || static_token(Secret::new(principal)).unwrap();
        let subject_type = self.pick("subject type", TokenType::Jwt, TokenType::AccessToken);
        Ok(match self.grant {
            Grant::ClientCredentials => Arc::new(ClientCredentials::new(client)),
            Grant::JwtBearer => Arc::new(JwtBearer::new(client, assertions())),
            Grant::TokenExchange => {
                let exchange = TokenExchange::new(client, assertions(), subject_type);
                Arc::new(self.pick("requested type", exchange.clone(), exchange.with_requested_type(TokenType::Jwt)))
            }
            Grant::Refresh => Arc::new(RefreshGrant::new(client).with_refresh_token(Secret::new(principal))),
            Grant::Closure => return Err(principal),
        })
    }

    /// Returns a source of tokens that start with `name`. For a grant, the key is always the same, because the grant
    /// adds its parts to the key.
    fn source(
        &self,
        http_clients: &HttpClients,
        shared: &SharedCache,
        name: &str,
    ) -> (TokenSource, Arc<CountingProvider>) {
        let client = self.client(http_clients);
        let provider = self.provider(client.clone());
        let counting_provider = Arc::new(CountingProvider::new(name, provider.clone().ok()));
        let key = provider.as_ref().map_or_else(|_| client.token_key().build(), |_| TokenKey::new("platform"));
        let source = shared.configure_source(TokenSource::builder(key, counting_provider.clone()));
        let source = match provider {
            Ok(_) => source,
            Err(principal) => source.with_identity(principal),
        };
        (source.build().unwrap(), counting_provider)
    }
}

/// An HTTP client without a certificate, and one with a certificate.
struct HttpClients(HttpClient, HttpClient);

impl HttpClients {
    fn new() -> Self {
        let (chain, key) = Authority::new().sign("client");
        let with_certificate = HttpClient::builder().with_client_certificate(chain, Secret::new(key));
        Self(HttpClient::builder().build().unwrap(), with_certificate.build().unwrap())
    }
}

/// A token provider with the identity of a grant, which returns numbered tokens without a request.
#[derive(Debug)]
struct CountingProvider {
    name: String,
    grant: Option<Arc<dyn AsyncTokenProvider>>,
    calls: AtomicUsize,
}

impl CountingProvider {
    fn new(name: &str, grant: Option<Arc<dyn AsyncTokenProvider>>) -> Self {
        Self { name: name.to_owned(), grant, calls: AtomicUsize::new(0) }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl AsyncTokenProvider for CountingProvider {
    async fn fetch(&self, _: &TokenRequest) -> Result<AccessToken, TokenError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let token = AccessToken::try_from(format!("{}-{call}", self.name))?;
        Ok(token.with_expires_at(SystemClock.now() + Duration::from_secs(3600)))
    }

    fn identity(&self) -> Option<String> {
        self.grant.as_ref()?.identity()
    }

    fn needs_lease(&self) -> bool {
        self.grant.as_ref().is_some_and(AsyncTokenProvider::needs_lease)
    }
}

#[test]
fn configurations_have_equal_keys_only_if_all_parts_are_equal() {
    let (http_clients, shared) = (HttpClients::new(), SharedCache::memory());
    let mut keys = HashSet::new();
    for config in GRANTS.into_iter().flat_map(Config::all) {
        let key = config.source(&http_clients, &shared, "").0.key().clone();
        assert_eq!(key, *config.source(&http_clients, &shared, "").0.key(), "{config:?}");
        assert!(keys.insert(key), "{config:?} has the key of another configuration");
    }
}

#[tokio::test]
async fn sources_share_a_token_only_if_all_parts_are_equal() {
    let http_clients = HttpClients::new();
    for shared in SharedCache::all().await {
        let configs: Vec<_> = GRANTS.into_iter().flat_map(Config::neighbors).collect();
        let mut tokens = HashSet::new();
        for (number, config) in configs.iter().enumerate() {
            let (source, provider) = config.source(&http_clients, &shared, &format!("token-{number}"));
            let token = source.token().await.unwrap();
            assert_eq!(provider.calls(), 1, "over {}, {config:?} was served another token", shared.name);
            assert!(tokens.insert(token.secret().expose().to_owned()), "{token:?}");
        }
        for (number, config) in configs.iter().enumerate() {
            let (source, provider) = config.source(&http_clients, &shared, "unused");
            let token = source.token().await.unwrap();
            assert_eq!(token.secret().expose(), format!("token-{number}-0"), "over {}, {config:?}", shared.name);
            assert_eq!(provider.calls(), 0);
        }
    }
}

/// Returns requests for distinct tokens.
fn requests() -> Vec<TokenRequest> {
    let (new, assertion) = (TokenRequest::new, |text| AccessToken::try_from(text).unwrap());
    let (one, two) = (new().with_assertion(assertion("one")), new().with_assertion(assertion("two")));
    vec![
        new(),
        new().with_scopes(["c"]),
        new().with_scopes(["c", "d"]),
        new().with_scopes(["c d"]),
        new().with_audience("a"),
        new().with_resource("a"),
        new().with_resource("a").with_resource("b"),
        new().with_audience("a").with_resource("a"),
        new().with_subject("a"),
        new().with_tenant("a"),
        new().with_claims("a"),
        new().with_subject("a").with_tenant("a"),
        new().with_subject(one.subject().unwrap()),
        one.clone().with_subject("a"),
        two.clone().with_subject("a"),
        one,
        two,
    ]
}

#[tokio::test]
async fn requests_share_a_token_only_if_they_are_equal() {
    let http_clients = HttpClients::new();
    for shared in SharedCache::all().await {
        for grant in GRANTS {
            // Two configurations, so that requests of different clients are also compared.
            let other = Config { grant, changed: ["audience"].into() };
            for (name, config) in [("unchanged", Config::unchanged(grant)), ("other", other)] {
                let (source, provider) = config.source(&http_clients, &shared, name);
                let (second_source, second_provider) = config.source(&http_clients, &shared, "unused");
                let mut tokens = HashSet::new();
                for request in requests() {
                    if grant == Grant::Closure && name == "other" && names_a_service(&request) {
                        continue;
                    }
                    let token = source.token_for(&request).await.unwrap();
                    let expected = format!("{name}-{}", provider.calls() - 1);
                    assert_eq!(token.secret().expose(), expected, "over {}, {grant:?}, {request:?}", shared.name);
                    assert!(tokens.insert(expected), "over {}, {grant:?}, {request:?}", shared.name);
                    assert_eq!(second_source.token_for(&request).await.unwrap().secret(), token.secret());
                }
                assert_eq!(second_provider.calls(), 0);
            }
        }
    }
}

/// Returns true if the request has an audience or resources. They replace the audience and the resources of the client.
fn names_a_service(request: &TokenRequest) -> bool {
    request.audience().is_some() || request.resources().next().is_some()
}

/// The parts of a platform client that affect tokens, including the identity of its token provider.
const PLATFORM_PARTS: [&str; 5] = ["issuer", "audience", "organization", "origin", "identity"];

/// Platforms at two origins, which reject every request.
struct Platforms([MockServer; 2]);

impl Platforms {
    async fn start() -> Self {
        let platforms = [MockServer::start().await, MockServer::start().await];
        for platform in &platforms {
            Mock::given(any()).respond_with(ResponseTemplate::new(404)).mount(platform).await;
        }
        Self(platforms)
    }

    /// Returns the bearer token that a client with one `changed` part sends.
    async fn sent_token(
        &self,
        changed: Option<&str>,
        shared: &SharedCache,
        provider: &Arc<CountingProvider>,
    ) -> String {
        let value = |part| if changed == Some(part) { "two" } else { "one" };
        let platform = &self.0[usize::from(changed == Some("origin"))];
        let mut settings = Settings::at(&platform.uri().parse().unwrap()).unwrap();
        value("issuer").clone_into(&mut settings.issuer);
        value("audience").clone_into(&mut settings.audience);
        settings.organization_id = Some(value("organization").to_owned());
        let client = Client::builder(settings).with_token_provider(provider.clone());
        let client = shared.configure_client(client).with_identity(value("identity")).build().unwrap();
        client.me().await.unwrap_err();
        let requests = platform.received_requests().await.unwrap();
        requests.last().unwrap().headers["authorization"].to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn platform_clients_share_a_token_only_if_all_parts_are_equal() {
    let platforms = Platforms::start().await;
    let parts = || std::iter::once(None).chain(PLATFORM_PARTS.into_iter().map(Some));
    for shared in SharedCache::all().await {
        for (number, part) in parts().enumerate() {
            let provider = Arc::new(CountingProvider::new(&format!("token-{number}"), None));
            let sent = platforms.sent_token(part, &shared, &provider).await;
            assert_eq!(sent, format!("Bearer token-{number}-0"), "over {}, {part:?}", shared.name);
        }
        for (number, part) in parts().enumerate() {
            let sent = platforms.sent_token(part, &shared, &Arc::new(CountingProvider::new("unused", None))).await;
            assert_eq!(sent, format!("Bearer token-{number}-0"), "over {}, {part:?}", shared.name);
        }
    }
}
