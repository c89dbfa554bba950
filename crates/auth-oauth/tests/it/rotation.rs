//! Client authentication with files that are rotated, and with each supported key type.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use auth_core::{AsyncTokenProvider, Secret, TokenRequest};
use auth_http::HttpClient;
use auth_oauth::{
    AssertionAudience, ClientCredentials, ClientFiles, CredentialError, Endpoints, FileClient, JwtAlgorithm,
    OAuthClient, PrivateKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::{Value, json};
use url::form_urlencoded::parse;
use wiremock::matchers::path;
use wiremock::{Mock, ResponseTemplate};

use crate::issuer::{Issuer, PEM, jwk};

fn replace_file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    let temporary_file = folder.join("next");
    fs::write(&temporary_file, text).unwrap();
    fs::set_permissions(&temporary_file, Permissions::from_mode(0o600)).unwrap();
    fs::rename(temporary_file, &path).unwrap();
    path
}

fn client(issuer: &Issuer) -> OAuthClient {
    OAuthClient::new(issuer.http.clone(), Endpoints::auth0(&issuer.url().parse().unwrap()).unwrap(), "machine")
}

/// Returns the last token request: the `Authorization` header and the form.
async fn last_request(issuer: &Issuer) -> (String, Vec<(String, String)>) {
    let request = issuer.server.received_requests().await.unwrap().pop().unwrap();
    let header = request.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    (header.unwrap_or_default(), parse(&request.body).into_owned().collect())
}

async fn granting_issuer() -> Issuer {
    let issuer = Issuer::start().await;
    let token_response =
        ResponseTemplate::new(200).set_body_json(json!({ "access_token": "opaque", "token_type": "Bearer" }));
    Mock::given(path("/oauth/token")).respond_with(token_response).mount(&issuer.server).await;
    issuer
}

/// Returns the verified assertion in a form.
fn assertion(
    form: &[(String, String)],
    key: &Value,
    algorithm: Algorithm,
    audience: &str,
) -> jsonwebtoken::TokenData<Value> {
    let jwt = &form.iter().find(|(name, _)| name == "client_assertion").unwrap().1;
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[audience]);
    let key = DecodingKey::from_jwk(&serde_json::from_value(key.clone()).unwrap()).unwrap();
    jsonwebtoken::decode(jwt, &key, &validation).unwrap()
}

#[tokio::test]
async fn replaced_secret_takes_effect_without_a_restart() {
    let issuer = granting_issuer().await;
    let folder = tempfile::tempdir().unwrap();
    let file = replace_file(folder.path(), "secret", "one\n");
    let client = FileClient::new(client(&issuer), HttpClient::builder(), ClientFiles::secret(&file));
    let provider = client.provider(ClientCredentials::new);
    let (identity, version) = (provider.identity(), provider.credential_version());
    provider.fetch(&TokenRequest::new()).await.unwrap();
    let first = last_request(&issuer).await.0;
    provider.fetch(&TokenRequest::new()).await.unwrap();
    assert_eq!((last_request(&issuer).await.0, provider.credential_version()), (first.clone(), version));
    replace_file(folder.path(), "secret", "two, longer\n");
    provider.fetch(&TokenRequest::new()).await.unwrap();
    assert_ne!(last_request(&issuer).await.0, first);
    assert_eq!(provider.identity(), identity);
    assert_ne!(provider.credential_version(), version, "a refusal of the former secret no longer applies");
    assert!(!format!("{provider:?}").contains("two, longer"));
}

#[tokio::test]
async fn replaced_key_signs_the_next_assertion() {
    let issuer = granting_issuer().await;
    let folder = tempfile::tempdir().unwrap();
    let file = replace_file(folder.path(), "key", &PEM);
    let files = ClientFiles::private_key(&file).with_key_id("key-1");
    let provider = FileClient::new(client(&issuer), HttpClient::builder(), files).provider(ClientCredentials::new);
    provider.fetch(&TokenRequest::new()).await.unwrap();
    let rsa = jwk("key-1", &crate::issuer::KEY, Algorithm::RS256);
    let header = assertion(&last_request(&issuer).await.1, &rsa, Algorithm::RS256, &issuer.url()).header;
    assert_eq!(header.kid.as_deref(), Some("key-1"));
    let next_pem = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    replace_file(folder.path(), "key", &next_pem);
    provider.fetch(&TokenRequest::new()).await.unwrap();
    let key = jwk("x", &EncodingKey::from_ec_pem(next_pem.as_bytes()).unwrap(), Algorithm::ES256);
    assertion(&last_request(&issuer).await.1, &key, Algorithm::ES256, &issuer.url());
    replace_file(folder.path(), "key", "canary");
    let error = provider.fetch(&TokenRequest::new()).await.unwrap_err();
    let text = CredentialError::of(&error).unwrap().to_string();
    assert!(text.contains("client key file") && text.contains("no usable key") && !text.contains("canary"), "{text}");
}

#[tokio::test]
async fn each_supported_key_type_signs() {
    let issuer = granting_issuer().await;
    let pem = |algorithm| KeyPair::generate_for(algorithm).unwrap().serialize_pem();
    let (p256, p384) = (pem(&PKCS_ECDSA_P256_SHA256), pem(&PKCS_ECDSA_P384_SHA384));
    let ed_key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let ed_jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(ed_key.public_key_raw()) });
    let key = |pem: &str| PrivateKey::from_pem(&Secret::new(pem)).unwrap();
    let public = |key: Result<EncodingKey, _>, algorithm| jwk("x", &key.unwrap(), algorithm);
    let ec = |pem: &str| EncodingKey::from_ec_pem(pem.as_bytes());
    for (key, public, algorithm) in [
        (key(&PEM), jwk("x", &crate::issuer::KEY, Algorithm::RS256), Algorithm::RS256),
        (
            key(&PEM).with_algorithm(JwtAlgorithm::Ps256).unwrap(),
            jwk("x", &crate::issuer::KEY, Algorithm::PS256),
            Algorithm::PS256,
        ),
        (key(&p256), public(ec(&p256), Algorithm::ES256), Algorithm::ES256),
        (key(&p384), public(ec(&p384), Algorithm::ES384), Algorithm::ES384),
        (key(&ed_key.serialize_pem()), ed_jwk, Algorithm::EdDSA),
    ] {
        let client = client(&issuer).with_private_key(key).with_assertion_audience(AssertionAudience::TokenEndpoint);
        ClientCredentials::new(client).token(&TokenRequest::new()).await.unwrap();
        let endpoint = format!("{}oauth/token", issuer.url());
        let assertion = assertion(&last_request(&issuer).await.1, &public, algorithm, &endpoint);
        assert_eq!(assertion.claims["sub"], "machine", "{algorithm:?}");
    }
    let error = key(&p256).with_algorithm(JwtAlgorithm::Ps256).unwrap_err();
    assert_eq!(error.to_string(), "the private key cannot sign with PS256");
}

#[tokio::test]
async fn certificate_of_a_key_is_named_by_its_thumbprints() {
    let issuer = granting_issuer().await;
    let certified = rcgen::generate_simple_self_signed(["machine.test".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = replace_file(folder.path(), "key", &certified.signing_key.serialize_pem());
    let certificate = replace_file(folder.path(), "certificate", &certified.cert.pem());
    // A certificate is public.
    fs::set_permissions(&certificate, Permissions::from_mode(0o644)).unwrap();
    let files = ClientFiles::private_key(key).with_key_certificate(certificate);
    FileClient::new(client(&issuer), HttpClient::builder(), files)
        .provider(ClientCredentials::new)
        .fetch(&TokenRequest::new())
        .await
        .unwrap();
    let (_, form) = last_request(&issuer).await;
    let jwt = &form.iter().find(|(name, _)| name == "client_assertion").unwrap().1;
    let header = jsonwebtoken::decode_header(jwt).unwrap();
    let digest = |algorithm| URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(algorithm, certified.cert.der()));
    assert_eq!(header.x5t, Some(digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY)));
    assert_eq!(header.x5t_s256, Some(digest(&aws_lc_rs::digest::SHA256)));
}

#[tokio::test]
async fn error_names_a_certificate_that_does_not_match_its_key() {
    let issuer = granting_issuer().await;
    let folder = tempfile::tempdir().unwrap();
    let [certified, other_certified] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(["machine.test".to_owned()]).unwrap());
    let chain = replace_file(folder.path(), "chain", &certified.cert.pem());
    let key = replace_file(folder.path(), "key", &other_certified.signing_key.serialize_pem());
    let combined_file = replace_file(
        folder.path(),
        "both",
        &format!("{}{}", certified.signing_key.serialize_pem(), certified.cert.pem()),
    );
    let http = || HttpClient::builder().with_plain_loopback();
    let file_client = |file_client| FileClient::new(client(&issuer), http(), file_client);
    let error = file_client(ClientFiles::certificate(&chain, Some(key))).current().await.unwrap_err();
    assert!(error.to_string().contains("the key does not match it"), "{error}");
    file_client(ClientFiles::certificate(&combined_file, None)).current().await.unwrap();
    fs::set_permissions(&combined_file, Permissions::from_mode(0o644)).unwrap();
    let error = file_client(ClientFiles::certificate(&combined_file, None)).current().await.unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "it contains a key: {error}");
}

#[tokio::test]
async fn subject_provider_gets_neither_the_scopes_nor_the_audience() {
    use auth_core::{TokenError, async_provider_fn};
    use auth_oauth::{JwtBearer, TokenExchange, TokenType};

    let issuer = granting_issuer().await;
    let subject_provider = || {
        async_provider_fn(|request: TokenRequest| async move {
            assert!(request.audience().is_none() && request.scopes().next().is_none());
            Ok::<_, TokenError>(request.subject().unwrap_or("none").to_owned())
        })
    };
    let request = TokenRequest::new().with_audience("https://a.test").with_scopes(["s"]).with_subject("ada");
    let field = |form: &[(String, String)], name: &str| {
        form.iter().find(|(field_name, _)| field_name == name).unwrap().1.clone()
    };
    JwtBearer::new(client(&issuer), subject_provider()).fetch(&request).await.unwrap();
    let (_, form) = last_request(&issuer).await;
    assert_eq!(
        [field(&form, "assertion"), field(&form, "audience"), field(&form, "scope")],
        ["ada", "https://a.test", "s"]
    );
    TokenExchange::new(client(&issuer), subject_provider(), TokenType::Jwt).fetch(&request).await.unwrap();
    let (_, form) = last_request(&issuer).await;
    assert_eq!([field(&form, "subject_token"), field(&form, "audience")], ["ada", "https://a.test"]);
}

#[tokio::test]
async fn expiry_limit_of_the_assertion_can_be_disabled() {
    use auth_core::static_token;
    use auth_oauth::JwtBearer;

    let issuer = Issuer::start().await;
    let token_response = json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": 3600 });
    Mock::given(path("/oauth/token"))
        .respond_with(ResponseTemplate::new(200).set_body_json(token_response))
        .mount(&issuer.server)
        .await;
    let assertion = Secret::new(issuer.token(json!({ "exp": 1 })));
    let grant = || JwtBearer::new(client(&issuer), static_token(assertion.clone()).unwrap());
    let limited_token = grant().fetch(&TokenRequest::new()).await.unwrap();
    let unlimited_token = grant().without_lifetime_bound().fetch(&TokenRequest::new()).await.unwrap();
    assert!(limited_token.expires_at().unwrap() < unlimited_token.expires_at().unwrap());
    assert_eq!(unlimited_token.not_after(), None);
}

#[tokio::test]
async fn processes_run_a_command_again_when_its_token_expires() {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use auth_core::{TokenKey, TokenSource};
    use auth_oauth::{CommandProvider, FileTokenStore, KnownExpiryStore};
    use platform_testkit::ManualClock;

    let folder = tempfile::tempdir().unwrap();
    let call_log = folder.path().join("calls");
    let script = format!(
        "echo >> '{0}'; echo \"{{\\\"access_token\\\":\\\"t$(wc -l < '{0}')\\\",\\\"expires_in\\\":3600}}\"",
        call_log.display()
    );
    let clock = Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)));
    let source_of_new_process = || {
        let command = CommandProvider::new("/bin/sh").with_arguments(["-c", &script]).with_clock(clock.clone());
        let store = FileTokenStore::new(folder.path().join("store")).with_clock(clock.clone());
        let (store, command) = KnownExpiryStore::new(store, command);
        let store = Arc::new(store);
        let source = TokenSource::builder(TokenKey::new("https://issuer.test/"), command).with_clock(clock.clone());
        source.with_cache(store.clone()).with_lease(store).build().unwrap()
    };
    for expected in 1..=3 {
        for _ in 0..5 {
            assert_eq!(source_of_new_process().token().await.unwrap().secret().expose(), format!("t{expected}"));
        }
        assert_eq!(fs::read_to_string(&call_log).unwrap().lines().count(), expected);
        clock.advance(Duration::from_secs(3600));
    }
}
