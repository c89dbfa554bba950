//! Machines that authenticate by a certificate (RFC 8705).

use std::time::Duration;

use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenRequest, static_token};
use auth_http::{ClientCertificate, HttpClient};
use auth_oauth::{ClientCredentials, Endpoints, JwtBearer, OAuthClient};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::CertifiedKey;

use crate::authority::Authority;
use crate::provider::{AUDIENCE, Provider, TOKEN};

/// Returns the thumbprint of the certificate that a token is bound to (RFC 8705, section 3.1).
pub(crate) fn thumbprint(token: &AccessToken) -> String {
    let claims = URL_SAFE_NO_PAD.decode(token.secret().expose().split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["cnf"]["x5t#S256"].as_str().unwrap().to_owned()
}

/// Returns a self-signed certificate for this name, and its key, in PEM.
fn self_signed(name: &str) -> (String, String) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

#[tokio::test]
async fn client_certificate_authenticates_at_the_mtls_endpoint() {
    let Some(provider) = Provider::start() else { return };
    let (servers, clients) = (Authority::new(), Authority::new());
    provider.listen_for_mutual_tls(servers.sign("localhost"), &clients.issuer.pem());
    let endpoints = Endpoints::discover(&provider.http, &provider.issuer).await.unwrap();
    assert_ne!(endpoints.mtls.as_ref().unwrap().token.as_ref(), Some(&endpoints.token));
    let grant_with = |certificate: Option<(String, String)>| {
        let http = HttpClient::builder().with_plain_loopback().with_root_certificates(servers.file());
        let http = match certificate {
            Some((chain, key)) => http.with_client_certificate(chain, Secret::new(key)),
            None => http,
        };
        let client = OAuthClient::new(http.build().unwrap(), endpoints.clone(), "machine-certificate");
        ClientCredentials::new(client.with_mutual_tls().with_audience(AUDIENCE).with_verifier(provider.verifier()))
    };
    let request = TokenRequest::default();
    let [first, second] = [(); 2].map(|()| grant_with(Some(clients.sign("machine.test"))));
    let tokens = [first.fetch(&request).await.unwrap(), second.fetch(&request).await.unwrap()];
    assert_eq!(first.fetch(&request).await.map(|token| thumbprint(&token)).unwrap(), thumbprint(&tokens[0]));
    assert_ne!(thumbprint(&tokens[0]), thumbprint(&tokens[1]), "each token is bound to the certificate of its request");
    assert_eq!(provider.requests(TOKEN), 3);

    for certificate in [None, Some(clients.sign("another.test")), Some(self_signed("machine.test"))] {
        let error = grant_with(certificate).fetch(&request).await.unwrap_err();
        assert!(error.is_refused(), "{error:?}");
    }
    let mut endpoints = endpoints.clone();
    endpoints.mtls = None;
    let client_without_alias =
        OAuthClient::new(provider.http.clone(), endpoints, "machine-certificate").with_mutual_tls();
    let error = ClientCredentials::new(client_without_alias).fetch(&request).await.unwrap_err();
    assert!(error.is_refused(), "the regular endpoint receives no certificate: {error:?}");
}

#[tokio::test]
async fn exchanged_token_is_bound_to_the_certificate() {
    let Some(provider) = Provider::start() else { return };
    let (servers, clients) = (Authority::new(), Authority::new());
    provider.listen_for_mutual_tls(servers.sign("localhost"), &clients.issuer.pem());
    let (chain, key) = clients.sign("machine.test");
    let certificate = ClientCertificate::from_pem(chain, Secret::new(key)).unwrap();
    let http = HttpClient::builder().with_plain_loopback().with_root_certificates(servers.file());
    let http = http.with_client_certificate(certificate.chain(), certificate.key().clone()).build().unwrap();
    let endpoints = Endpoints::discover(&provider.http, &provider.issuer).await.unwrap();
    let resource = "urn:sap:identity:application:provider:name:agent-gateway";
    let client = OAuthClient::new(http, endpoints, "machine-certificate").with_mutual_tls();
    let client = client.with_resource(resource.parse().unwrap()).with_parameter("token_format", "jwt");

    let assertion = AccessToken::new(provider.assertion("alice", Duration::from_secs(60))).unwrap();
    let grant = JwtBearer::new(client.clone(), static_token(assertion.secret().clone()).unwrap());
    let token = grant.redeem(&assertion, &TokenRequest::default()).await.unwrap();
    assert_eq!(thumbprint(&token), certificate.thumbprint());
    assert_eq!(token.expires_at(), assertion.jwt_expiry(), "the provider would issue a token for an hour");
    let received_form = provider.form();
    assert_eq!((&received_form["resource"], &received_form["token_format"]), (&resource.into(), &"jwt".into()));

    let forged = assertion.secret().expose().replace('.', ".e");
    let forged_grant = JwtBearer::new(client, static_token(Secret::new(forged)).unwrap());
    assert!(forged_grant.fetch(&TokenRequest::default()).await.unwrap_err().is_refused());
    assert_eq!(provider.grants("urn:ietf:params:oauth:grant-type:jwt-bearer"), 1);
}
