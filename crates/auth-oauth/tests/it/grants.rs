//! The grants against the identity provider of the emulator, which shares no code with this crate.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use auth_core::{
    AccessToken, AsyncTokenProvider, Clock, Secret, SystemClock, TokenRequest, async_provider_fn, static_token,
};
use auth_http::{HttpClient, Method, Request};
use auth_oauth::{
    ClientCredentials, DeviceAuthorization, DeviceLogin, Endpoints, JwtBearer, JwtVerifier, OAuthClient, Prompt,
    RefreshGrant, TokenExchange, TokenType,
};
use platform_emulator::{
    AUDIENCE, DEVICE_CLIENT_ID, Emulator, EmulatorBuilder, MACHINE_CLIENT_ID, MACHINE_CLIENT_SECRET,
};
use serde_json::Value;

/// The identity provider and the API of the emulator.
pub(crate) struct EmulatorFixture {
    pub(crate) emulator: Emulator,
    pub(crate) http: HttpClient,
    pub(crate) endpoints: Endpoints,
}

impl EmulatorFixture {
    async fn start() -> Self {
        Self::start_with(Emulator::builder().with_control()).await
    }

    pub(crate) async fn start_with(builder: EmulatorBuilder) -> Self {
        let emulator = builder.start().await.unwrap();
        let http = HttpClient::builder().with_plain_loopback().build().unwrap();
        let endpoints = Endpoints::discover(&http, emulator.issuer().as_str()).await.unwrap();
        Self { emulator, http, endpoints }
    }

    pub(crate) fn client(&self, id: &str) -> OAuthClient {
        let issuer = self.emulator.issuer().as_str();
        let verifier = JwtVerifier::new(self.http.clone(), issuer, AUDIENCE, self.endpoints.jwks.clone().unwrap());
        let client = OAuthClient::new(self.http.clone(), self.endpoints.clone(), id);
        client.with_audience(AUDIENCE).with_verifier(verifier)
    }

    pub(crate) fn machine_client(&self) -> OAuthClient {
        self.client(MACHINE_CLIENT_ID).with_secret_basic(Secret::new(MACHINE_CLIENT_SECRET))
    }

    async fn log_in(&self) -> AccessToken {
        let client = self.client(DEVICE_CLIENT_ID).with_scopes(["openid", "offline_access"]);
        let login = DeviceLogin::new(client, Arc::new(AutoApprovingUser(self.http.clone())));
        login.log_in(&TokenRequest::default()).await.unwrap()
    }

    fn refresh_grant(&self) -> RefreshGrant {
        RefreshGrant::new(self.client(DEVICE_CLIENT_ID))
    }

    /// Returns the user that the platform sees for a token, or `None` if it refuses the token.
    pub(crate) async fn user_of(&self, token: &AccessToken) -> Option<String> {
        let me = Request::get(self.emulator.api_root().join("/api/v1/me").unwrap());
        let bearer = format!("Bearer {}", token.secret().expose());
        let response = self.http.send(me.with_header("authorization", bearer)).await.unwrap();
        let me: Value = serde_json::from_slice(&response.bytes(1 << 20).await.unwrap()).unwrap_or_default();
        Some(me["user"]["id"].as_str()?.to_owned())
    }
}

/// A user who approves every login at once.
#[derive(Debug)]
pub(crate) struct AutoApprovingUser(pub(crate) HttpClient);

#[async_trait]
impl Prompt for AutoApprovingUser {
    async fn show(&self, device: &DeviceAuthorization) -> Result<(), Box<dyn Error + Send + Sync>> {
        let form = format!("user_code={}&decision=approve", device.user_code);
        let approval = Request::new(Method::Post, device.verification_url.parse()?);
        self.0.send(approval.with_body("application/x-www-form-urlencoded", form)).await?;
        Ok(())
    }
}

#[tokio::test]
async fn client_secret_is_sent_in_the_header_or_the_form() {
    let fixture = EmulatorFixture::start().await;
    let secret = || Secret::new(MACHINE_CLIENT_SECRET);
    let client = || fixture.client(MACHINE_CLIENT_ID);
    for client in [client().with_secret_basic(secret()), client().with_secret_post(secret())] {
        let token = ClientCredentials::new(client).fetch(&TokenRequest::default()).await.unwrap();
        assert_eq!(fixture.user_of(&token).await, Some(format!("{MACHINE_CLIENT_ID}@clients")));
        assert!(token.expires_at().is_some() && token.refresh_token().is_none());
    }
    let wrong = client().with_secret_basic(Secret::new("canary: another+secret"));
    for client in [wrong, client()] {
        let error = ClientCredentials::new(client).fetch(&TokenRequest::default()).await.unwrap_err();
        assert!(error.is_refused(), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn refresh_token_is_redeemed_and_replaced_by_the_rotated_one() {
    let fixture = EmulatorFixture::start().await;
    let first = fixture.log_in().await;
    let second = fixture.refresh_grant().refresh(&TokenRequest::default(), &first).await.unwrap();
    assert!(!second.is_same(&first) && second.refresh_token() != first.refresh_token());
    assert_eq!(fixture.user_of(&second).await.as_deref(), Some("auth0|emulator-1"));

    let third = fixture.refresh_grant().refresh(&TokenRequest::new().with_scopes(["openid"]), &second).await.unwrap();
    assert_eq!(third.scopes().collect::<Vec<_>>(), ["openid"]);
    let scope_error =
        fixture.refresh_grant().refresh(&TokenRequest::new().with_scopes(["everything"]), &third).await.unwrap_err();
    assert!(!scope_error.is_refused(), "an unavailable scope does not affect the login");
    let reuse_error = fixture.refresh_grant().refresh(&TokenRequest::default(), &first).await.unwrap_err();
    assert!(reuse_error.is_refused(), "{reuse_error}");
}

#[tokio::test]
async fn configured_refresh_token_continues_a_login() {
    let fixture = EmulatorFixture::start().await;
    let refresh_token = Secret::new(fixture.emulator.refresh_token("auth0|emulator-2").await.unwrap());
    let client = fixture.client(platform_emulator::INTERACTIVE_CLIENT_ID);
    let grant = RefreshGrant::new(client.clone()).with_refresh_token(refresh_token);
    let token = grant.fetch(&TokenRequest::default()).await.unwrap();
    assert_eq!(fixture.user_of(&token).await.as_deref(), Some("auth0|emulator-2"));
    assert!(token.refresh_token().is_some());

    let error = RefreshGrant::new(client).fetch(&TokenRequest::default()).await.unwrap_err();
    assert!(error.is_refused() && format!("{error:?}").contains("LoginRequired"), "{error:?}");
}

#[tokio::test]
async fn exchanged_token_does_not_outlive_its_subject_token() {
    let fixture = EmulatorFixture::start().await;
    let user_token = fixture.log_in().await;
    // The specified expiry of the assertion is earlier than the expiry of the token that the provider issues.
    let assertion_expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let assertion = AccessToken::new(user_token.secret().clone()).unwrap().with_expires_at(assertion_expiry);
    let provider_of = |token: AccessToken| async_provider_fn(move |_| std::future::ready(Ok(token.clone())));
    let jwt_bearer = JwtBearer::new(fixture.machine_client(), provider_of(assertion.clone()));
    let token_exchange =
        TokenExchange::new(fixture.machine_client(), provider_of(assertion.clone()), TokenType::AccessToken)
            .with_requested_type(TokenType::AccessToken);
    let grants: [&dyn AsyncTokenProvider; 2] = [&jwt_bearer, &token_exchange];
    for grant in grants {
        let token = grant.fetch(&TokenRequest::default()).await.unwrap();
        assert_eq!(fixture.user_of(&token).await.as_deref(), Some("auth0|emulator-1"), "the token belongs to the user");
        assert!(!token.is_same(&user_token));
        assert!(token.expires_at().unwrap() < assertion_expiry, "the subject token expires earlier");
    }
    let short_expiry = SystemClock.now() + Duration::from_secs(60);
    let short_assertion = assertion.with_expires_at(short_expiry);
    let token = JwtBearer::new(fixture.machine_client(), provider_of(short_assertion))
        .fetch(&TokenRequest::default())
        .await
        .unwrap();
    assert_eq!(token.expires_at(), Some(short_expiry));

    let forged_grant = JwtBearer::new(fixture.machine_client(), static_token(Secret::new("a.b.c")).unwrap());
    assert!(forged_grant.fetch(&TokenRequest::default()).await.unwrap_err().is_refused());
}

#[tokio::test]
async fn refresh_fails_after_the_login_is_revoked() {
    let fixture = EmulatorFixture::start().await;
    let login = fixture.log_in().await;
    fixture.client(DEVICE_CLIENT_ID).revoke(&login).await.unwrap();
    assert!(fixture.refresh_grant().refresh(&TokenRequest::default(), &login).await.unwrap_err().is_refused());

    let access_token_only = AccessToken::new(fixture.log_in().await.secret().clone()).unwrap();
    assert!(fixture.user_of(&access_token_only).await.is_some());
    fixture.client(DEVICE_CLIENT_ID).revoke(&access_token_only).await.unwrap();
    assert_eq!(fixture.user_of(&access_token_only).await, None);

    let without_revocation = Endpoints::new("https://issuer.test/", fixture.endpoints.token.clone());
    let error = OAuthClient::new(fixture.http.clone(), without_revocation, "client").revoke(&login).await.unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("revocation"), "{error}");
}

#[tokio::test]
async fn discovery_accepts_only_the_requested_issuer() {
    let fixture = EmulatorFixture::start().await;
    let auth0_endpoints = Endpoints::auth0(fixture.emulator.issuer()).unwrap();
    assert_eq!(
        format!("{:?}", fixture.endpoints),
        format!("{auth0_endpoints:?}"),
        "the emulator has the endpoints of Auth0"
    );
    let other_issuer = fixture.emulator.issuer().as_str().replace("127.0.0.1", "localhost");
    let error = Endpoints::discover(&fixture.http, &other_issuer).await.unwrap_err();
    assert!(error.to_string().contains(&other_issuer), "{error}");
    let api_url = fixture.emulator.api_root().as_str();
    assert!(Endpoints::discover(&fixture.http, api_url).await.is_err());
}

#[tokio::test]
async fn token_for_another_audience_is_not_returned() {
    let fixture = EmulatorFixture::start().await;
    let jwks = fixture.endpoints.jwks.clone().unwrap();
    let verifier =
        JwtVerifier::new(fixture.http.clone(), fixture.emulator.issuer().as_str(), "https://other.test", jwks);
    let grant = ClientCredentials::new(fixture.machine_client().with_verifier(verifier));
    let error = grant.token(&TokenRequest::default()).await.unwrap_err();
    assert!(error.is_unverified(), "{error}");
}

#[test]
fn clients_do_not_share_cached_tokens() {
    let http = HttpClient::builder().with_plain_loopback().build().unwrap();
    let endpoints = Endpoints::auth0(&"https://issuer.test/".parse().unwrap()).unwrap();
    let client = |id: &str| OAuthClient::new(http.clone(), endpoints.clone(), id);
    let resource = || "https://api.test/".parse().unwrap();
    let keys = [
        client("a"),
        client("b"),
        client("a").with_audience("x"),
        client("a").with_resource(resource()),
        client("a").with_organization("o"),
        client("a").with_scopes(["s"]),
        client("a").with_scopes(["s", "t"]),
    ];
    let keys: std::collections::HashSet<_> = keys.iter().map(|client| client.token_key().build()).collect();
    assert_eq!(keys.len(), 7);
    assert_eq!(
        client("a").with_scopes(["s", "t"]).token_key().build(),
        client("a").with_scopes(["t", "s"]).token_key().build()
    );
}
