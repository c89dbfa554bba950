//! Clients whose credentials are in files, and workloads.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenRequest};
use auth_http::{ClientCertificate, HttpClient};
use auth_oauth::{ClientCredentials, ClientFiles, Endpoints, FileClient, OAuthClient, TokenType, WorkloadIdentity};

use crate::authority::Authority;
use crate::certificates::thumbprint;
use crate::grants::{BASIC_CLIENT, BASIC_SECRET, POST_SECRET};
use crate::provider::{AUDIENCE, Provider};

fn replace_file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let (path, temporary_file) = (folder.join(name), folder.join("next"));
    fs::write(&temporary_file, text).unwrap();
    fs::set_permissions(&temporary_file, Permissions::from_mode(0o600)).unwrap();
    fs::rename(temporary_file, &path).unwrap();
    path
}

async fn fetch_token(client: OAuthClient, http: auth_http::HttpClientBuilder, files: ClientFiles) -> AccessToken {
    let provider = FileClient::new(client, http, files).provider(ClientCredentials::new);
    provider.fetch(&TokenRequest::default()).await.unwrap()
}

#[tokio::test]
async fn secret_and_key_in_files_authenticate_a_machine() {
    let Some(provider) = Provider::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let secret = ClientFiles::secret(replace_file(folder.path(), "secret", BASIC_SECRET));
    let key = ClientFiles::private_key(replace_file(folder.path(), "key", provider.machine_key.expose()));
    for (id, files) in [(BASIC_CLIENT, secret), ("machine-key", key.with_key_id("machine-1"))] {
        let token = fetch_token(provider.client(id), HttpClient::builder().with_plain_loopback(), files).await;
        assert_eq!(provider.verifier().verify(token.secret()).await.unwrap().sub, id);
    }
}

#[tokio::test]
async fn rotated_certificate_is_used_without_a_restart() {
    let Some(provider) = Provider::start() else { return };
    let (servers, clients) = (Authority::new(), Authority::new());
    provider.listen_for_mutual_tls(servers.sign("localhost"), &clients.issuer.pem());
    let endpoints = Endpoints::discover(&provider.http, &provider.issuer).await.unwrap();
    let http = HttpClient::builder().with_plain_loopback().with_root_certificates(servers.file());
    let client = OAuthClient::new(http.clone().build().unwrap(), endpoints, "machine-certificate");
    let folder = tempfile::tempdir().unwrap();
    let combined_file = folder.path().join("both");
    let client = FileClient::new(client.with_audience(AUDIENCE), http, ClientFiles::certificate(&combined_file, None));
    let grant = client.provider(ClientCredentials::new);
    let identity = grant.identity();
    for _ in 0..2 {
        let (chain, key) = clients.sign("machine.test");
        replace_file(folder.path(), "both", &format!("{chain}{key}"));
        let token = grant.fetch(&TokenRequest::default()).await.unwrap();
        let certificate = ClientCertificate::from_pem(chain, Secret::new(key)).unwrap();
        assert_eq!(thumbprint(&token), certificate.thumbprint());
    }
    assert_eq!(grant.identity(), identity);
}

#[tokio::test]
async fn workload_identity_is_exchanged_by_both_grants() {
    let Some(provider) = Provider::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let assertion = provider.assertion("alice", Duration::from_secs(60));
    let identity = || WorkloadIdentity::file(replace_file(folder.path(), "token", assertion.expose()));
    let client = || provider.trusting_client("workload").with_secret_basic(Secret::new(POST_SECRET));
    let request = TokenRequest::default();
    let exchanged_token = identity().into_token_exchange(client(), TokenType::Jwt).fetch(&request).await.unwrap();
    let asserted_token = identity().into_jwt_bearer(client()).fetch(&request).await.unwrap();
    for token in [exchanged_token, asserted_token] {
        assert_eq!(provider.verifier().verify(token.secret()).await.unwrap().sub, "alice");
        assert_eq!(token.expires_at(), AccessToken::new(assertion.clone()).unwrap().jwt_expiry());
    }
    let forged = assertion.expose().replace('.', ".e");
    let forged = WorkloadIdentity::file(replace_file(folder.path(), "forged", &forged));
    assert!(forged.into_token_exchange(client(), TokenType::Jwt).fetch(&request).await.unwrap_err().is_refused());
}
