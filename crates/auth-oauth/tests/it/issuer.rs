//! An identity provider with one RSA key, for tokens that a real provider would never issue.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use auth_core::Clock;
use auth_http::HttpClient;
use auth_oauth::JwtVerifier;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

pub(crate) const AUDIENCE: &str = "https://platform.test";
/// The current time of these tests, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

/// The key of the issuer.
pub(crate) static PEM: LazyLock<String> = LazyLock::new(generate_pem);
pub(crate) static KEY: LazyLock<EncodingKey> = LazyLock::new(|| EncodingKey::from_rsa_pem(PEM.as_bytes()).unwrap());
/// A key that no issuer publishes.
pub(crate) static UNPUBLISHED_KEY: LazyLock<EncodingKey> =
    LazyLock::new(|| EncodingKey::from_rsa_pem(generate_pem().as_bytes()).unwrap());

fn generate_pem() -> String {
    let key_pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der>::as_der(&key_pair).unwrap();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", STANDARD.encode(der.as_ref()))
}

#[derive(Debug)]
pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }
}

pub(crate) struct Issuer {
    pub(crate) server: MockServer,
    pub(crate) http: HttpClient,
    jwks: Arc<Mutex<ResponseTemplate>>,
}

impl Issuer {
    /// Starts an issuer that publishes the key `key-1`, and the same key for encryption.
    pub(crate) async fn start() -> Self {
        let mut encryption_jwk = Jwk::from_encoding_key(&KEY, Algorithm::RS256).unwrap();
        encryption_jwk.common.key_id = Some("encryption".to_owned());
        encryption_jwk.common.public_key_use = Some(PublicKeyUse::Encryption);
        Self::start_with_keys(json!([jwk("key-1", &KEY, Algorithm::RS256), encryption_jwk])).await
    }

    /// Starts an issuer that publishes these keys.
    pub(crate) async fn start_with_keys(keys: Value) -> Self {
        let jwks = Arc::new(Mutex::new(ResponseTemplate::new(200)));
        let response = jwks.clone();
        let issuer = Self::with_key_responder(jwks, move |_: &Request| response.lock().unwrap().clone()).await;
        issuer.publish(keys);
        issuer
    }

    /// Starts an issuer whose key endpoint is served by `respond`.
    pub(crate) async fn with_key_responder(
        jwks: Arc<Mutex<ResponseTemplate>>,
        respond: impl Respond + 'static,
    ) -> Self {
        let server = MockServer::start().await;
        Mock::given(path("/.well-known/jwks.json")).respond_with(respond).mount(&server).await;
        Self { server, http: HttpClient::builder().with_plain_loopback().build().unwrap(), jwks }
    }

    /// Replaces the published keys.
    #[expect(clippy::needless_pass_by_value, reason = "callers pass `json!` directly")]
    pub(crate) fn publish(&self, keys: Value) {
        self.respond_with(ResponseTemplate::new(200).set_body_json(json!({ "keys": keys })));
    }

    /// Responds with `response` to all later requests for the keys.
    pub(crate) fn respond_with(&self, response: ResponseTemplate) {
        *self.jwks.lock().unwrap() = response;
    }

    /// Returns the number of requests that the issuer received. The tests that call it send only requests for keys.
    pub(crate) async fn key_fetch_count(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }

    /// Returns a verifier of the tokens of the issuer. Its clock stands at [`NOW`].
    pub(crate) fn verifier(&self) -> JwtVerifier {
        let jwks = format!("{}/.well-known/jwks.json", self.server.uri()).parse().unwrap();
        JwtVerifier::new(self.http.clone(), self.url(), AUDIENCE, jwks).with_clock(Arc::new(FixedClock))
    }

    /// Returns the URL of the issuer, which is the `iss` of its tokens.
    pub(crate) fn url(&self) -> String {
        format!("{}/", self.server.uri())
    }

    pub(crate) fn jwks(&self) -> Url {
        format!("{}/.well-known/jwks.json", self.server.uri()).parse().unwrap()
    }

    /// Returns valid claims with `changes`. A change to `null` removes a claim.
    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let mut claims = json!({ "iss": self.url(), "aud": AUDIENCE, "sub": "user-1", "iat": NOW, "exp": NOW + 600 });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers pass `json!` directly")]
    pub(crate) fn token(&self, changes: Value) -> String {
        sign(&header(Algorithm::RS256, "key-1"), &self.claims(&changes), &KEY)
    }
}

/// Returns the public part of `key` as a JWK.
pub(crate) fn jwk(kid: &str, key: &EncodingKey, algorithm: Algorithm) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    serde_json::to_value(jwk).unwrap()
}

pub(crate) fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

pub(crate) fn sign(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, claims, key).unwrap()
}
