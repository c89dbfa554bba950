//! An identity provider with one RSA key, for tokens that a real one would never issue.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use auth_core::Clock;
use auth_http::HttpClient;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use url::Url;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

pub(crate) const AUDIENCE: &str = "https://platform.test";
/// The present moment of these tests, in seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;

/// The key of the issuer.
pub(crate) static PEM: LazyLock<String> = LazyLock::new(generate);
pub(crate) static KEY: LazyLock<EncodingKey> = LazyLock::new(|| EncodingKey::from_rsa_pem(PEM.as_bytes()).unwrap());
/// A key that no issuer publishes.
pub(crate) static STRANGER: LazyLock<EncodingKey> =
    LazyLock::new(|| EncodingKey::from_rsa_pem(generate().as_bytes()).unwrap());

fn generate() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der>::as_der(&pair).unwrap();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", STANDARD.encode(der.as_ref()))
}

#[derive(Debug)]
pub(crate) struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }
}

pub(crate) struct Issuer {
    pub(crate) server: MockServer,
    pub(crate) http: HttpClient,
}

impl Issuer {
    /// Starts an issuer that publishes the key `key-1`, and once more for encryption.
    pub(crate) async fn start() -> Self {
        let server = MockServer::start().await;
        let mut jwk = Jwk::from_encoding_key(&KEY, Algorithm::RS256).unwrap();
        jwk.common.key_id = Some("key-1".to_owned());
        let mut encryption = Jwk::from_encoding_key(&KEY, Algorithm::RS256).unwrap();
        encryption.common.key_id = Some("encryption".to_owned());
        encryption.common.public_key_use = Some(PublicKeyUse::Encryption);
        let jwks = ResponseTemplate::new(200).set_body_json(json!({ "keys": [jwk, encryption] }));
        Mock::given(path("/.well-known/jwks.json")).respond_with(jwks).mount(&server).await;
        Self { server, http: HttpClient::builder().with_plain_loopback().build().unwrap() }
    }

    /// The `iss` of its tokens.
    pub(crate) fn name(&self) -> String {
        format!("{}/", self.server.uri())
    }

    pub(crate) fn jwks(&self) -> Url {
        format!("{}/.well-known/jwks.json", self.server.uri()).parse().unwrap()
    }

    /// The claims of a good token, with `changes` on top; a change to `null` removes a claim.
    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let mut claims = json!({ "iss": self.name(), "aud": AUDIENCE, "sub": "user-1", "iat": NOW, "exp": NOW + 600 });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
    pub(crate) fn token(&self, changes: Value) -> String {
        sign(&header(Algorithm::RS256, "key-1"), &self.claims(&changes), &KEY)
    }
}

pub(crate) fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

pub(crate) fn sign(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, claims, key).unwrap()
}
