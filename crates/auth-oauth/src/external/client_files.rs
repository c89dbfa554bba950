use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenRequest};
use auth_http::{ClientCertificate, HttpClientBuilder};

use super::error::CredentialError;
use super::file::SecretFile;
use crate::{OAuthClient, PrivateKey};

/// The maximum number of retries if the key does not match the certificate. During a rotation, one of the files may not
/// have been replaced yet.
const MAX_RETRIES: u32 = 3;
/// The pause before the files are read again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The files that contain the credential of an OAuth client.
#[derive(Clone, Debug)]
pub struct ClientFiles(Credential);

#[derive(Clone, Debug)]
enum Credential {
    Secret(SecretFile),
    Key { key: SecretFile, id: Option<String>, certificate: Option<SecretFile> },
    Certificate { chain: SecretFile, key: Option<SecretFile> },
}

impl ClientFiles {
    /// Uses the client secret in the file at `path`, and sends it in the header (`client_secret_basic`; RFC 6749,
    /// section 2.3.1).
    pub fn secret(path: impl Into<PathBuf>) -> Self {
        Self(Credential::Secret(SecretFile::new("client secret file", path.into())))
    }

    /// Uses the private key in the PEM file at `path` to sign assertions (`private_key_jwt`; RFC 7523, section 2.2).
    pub fn private_key(path: impl Into<PathBuf>) -> Self {
        let key = SecretFile::new("client key file", path.into());
        Self(Credential::Key { key, id: None, certificate: None })
    }

    /// Uses the certificate chain in the PEM file `chain`, and its private key in the PEM file `key`, for mutual TLS
    /// (RFC 8705, section 2). Without `key`, the first file must contain both.
    pub fn certificate(chain: impl Into<PathBuf>, key: Option<PathBuf>) -> Self {
        let mut chain = SecretFile::new("client certificate file", chain.into());
        let key = key.map(|key| SecretFile::new("client key file", key));
        if key.is_some() {
            chain = chain.allow_shared();
        }
        Self(Credential::Certificate { chain, key })
    }

    /// Sets the id under which the private key is registered with the provider (`kid`). Without a private key file,
    /// this has no effect.
    pub fn with_key_id(mut self, key_id: impl Into<String>) -> Self {
        if let Credential::Key { id, .. } = &mut self.0 {
            *id = Some(key_id.into());
        }
        self
    }

    /// Sets the file with the certificate of the private key. Assertions identify the key by the thumbprints of the
    /// certificate (`x5t`, `x5t#S256`). Without a private key file, this has no effect.
    pub fn with_key_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        if let Credential::Key { certificate, .. } = &mut self.0 {
            *certificate = Some(SecretFile::new("client certificate file", path.into()).allow_shared());
        }
        self
    }

    fn files(&self) -> Vec<&SecretFile> {
        match &self.0 {
            Credential::Secret(file) => vec![file],
            Credential::Key { key, certificate, .. } => std::iter::once(key).chain(certificate).collect(),
            Credential::Certificate { chain, key } => std::iter::once(chain).chain(key).collect(),
        }
    }

    /// Returns a number that changes when a file is replaced or modified.
    fn version(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        self.files().iter().for_each(|file| file.version().hash(&mut hash));
        hash.finish()
    }

    /// Reads the files, and returns `client` with the credential in them.
    async fn load_into(&self, client: OAuthClient, http: &HttpClientBuilder) -> Result<OAuthClient, CredentialError> {
        match &self.0 {
            Credential::Secret(file) => Ok(client.with_secret_basic(file.read().await?)),
            Credential::Key { key: file, id, certificate } => {
                let unusable_key = |error| {
                    file.origin()
                        .unusable("it contains no usable key", "write a private key in PEM to it")
                        .with_source(error)
                };
                let key = PrivateKey::from_pem(&file.read().await?).map_err(|error| unusable_key(Box::new(error)))?;
                let key = id.iter().fold(key, PrivateKey::with_id);
                let key = match certificate {
                    Some(certificate) => {
                        let pem = certificate.read().await?;
                        let unusable_certificate = |error| {
                            certificate
                                .origin()
                                .unusable("it contains no certificate", "write a certificate in PEM to it")
                                .with_source(Box::new(error))
                        };
                        key.with_certificate(pem.expose()).map_err(unusable_certificate)?
                    }
                    None => key,
                };
                Ok(client.with_private_key(key))
            }
            Credential::Certificate { chain: file, key } => {
                let chain = file.read().await?;
                let key = match key {
                    Some(key) => key.read().await?,
                    None => chain.clone(),
                };
                let certificate_error = |error: auth_http::CertificateError| match error {
                    auth_http::CertificateError::KeyMismatch => {
                        file.origin().unavailable("the key does not match it", "replace both files")
                    }
                    error => file.origin().unusable(error.to_string(), "write a certificate chain and its key in PEM"),
                };
                let certificate = ClientCertificate::from_pem(extract_certificates(chain.expose()), key)
                    .map_err(certificate_error)?;
                let http = http.clone().with_client_certificate(certificate.chain(), certificate.key().clone()).build();
                let http = http.map_err(|error| {
                    file.origin().unusable("it cannot be used for TLS connections", "replace it").with_source(error)
                })?;
                Ok(client.with_http(http).with_mutual_tls())
            }
        }
    }
}

/// Returns the certificates of a PEM file that may also contain their private key.
fn extract_certificates(pem: &str) -> String {
    let (mut certificates, mut is_certificate) = (String::new(), false);
    for line in pem.lines() {
        is_certificate |= line.trim() == "-----BEGIN CERTIFICATE-----";
        if is_certificate {
            certificates.push_str(line.trim());
            certificates.push('\n');
        }
        is_certificate &= line.trim() != "-----END CERTIFICATE-----";
    }
    certificates
}

/// An OAuth client whose credential is in files. A replaced file takes effect with the next token request.
///
/// ```
/// use auth_core::TokenSource;
/// use auth_http::HttpClient;
/// use auth_oauth::{ClientCredentials, ClientFiles, Endpoints, FileClient, OAuthClient};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let http = HttpClient::builder();
/// let endpoints = Endpoints::auth0(&"https://issuer.example/".parse()?)?;
/// let client = OAuthClient::new(http.clone().build()?, endpoints, "a-machine").with_audience("https://platform.example");
/// let key = client.token_key().build();
/// let files = ClientFiles::secret("/run/secrets/platform/client-secret");
/// let source = TokenSource::new(key, FileClient::new(client, http, files).provider(ClientCredentials::new));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct FileClient {
    client: OAuthClient,
    http: HttpClientBuilder,
    files: ClientFiles,
    /// The client with the credential in the files, and the version of the files.
    loaded_client: Arc<Mutex<Option<(u64, OAuthClient)>>>,
}

impl FileClient {
    /// Creates a client with the properties of `client` and the credential in `files`. If the credential is a
    /// certificate, the HTTP client is built with `http`.
    pub fn new(client: OAuthClient, http: HttpClientBuilder, files: ClientFiles) -> Self {
        let client = if matches!(files.0, Credential::Certificate { .. }) { client.with_mutual_tls() } else { client };
        Self { client, http, files, loaded_client: Arc::default() }
    }

    /// Returns the client with the current credential in the files.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used.
    pub async fn current(&self) -> Result<OAuthClient, CredentialError> {
        let mut retries = 0;
        loop {
            let version = self.files.version();
            let loaded = self.loaded_client.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some((_, client)) = loaded.filter(|(loaded_version, _)| *loaded_version == version) {
                return Ok(client);
            }
            match self.files.load_into(self.client.clone(), &self.http).await {
                Ok(client) => {
                    *self.loaded_client.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some((version, client.clone()));
                    return Ok(client);
                }
                Err(error) if error.is_transient() && retries < MAX_RETRIES => retries += 1,
                Err(error) => return Err(error),
            }
            #[expect(clippy::disallowed_methods, reason = "there is no event when both files are replaced")]
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Returns a token provider. For each token, it calls `grant` with the client that has the current credential.
    pub fn provider<P>(self, grant: impl Fn(OAuthClient) -> P + Send + Sync + 'static) -> FileClientProvider<P> {
        FileClientProvider { client: self, grant: Arc::new(grant) }
    }
}

/// The token provider of a [`FileClient`]: see [`FileClient::provider`].
pub struct FileClientProvider<P> {
    client: FileClient,
    grant: Arc<dyn Fn(OAuthClient) -> P + Send + Sync>,
}

impl<P: AsyncTokenProvider> FileClientProvider<P> {
    fn grant_without_credential(&self) -> P {
        (self.grant)(self.client.client.clone())
    }
}

impl<P> fmt::Debug for FileClientProvider<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FileClientProvider").field("client", &self.client).finish_non_exhaustive()
    }
}

#[async_trait]
impl<P: AsyncTokenProvider> AsyncTokenProvider for FileClientProvider<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let client = self.client.current().await?;
        (self.grant)(client).fetch(request).await
    }

    /// Returns the identity of the grant, which does not depend on the content of the files.
    fn identity(&self) -> Option<String> {
        self.grant_without_credential().identity()
    }

    fn credential_version(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        (self.client.files.version(), self.grant_without_credential().credential_version()).hash(&mut hash);
        hash.finish()
    }
}
