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

/// The number of times that the files are read again if a key does not match its certificate: one of them may be about
/// to be replaced.
const MAX_RETRIES: u32 = 3;
/// The pause before they are read again.
const PAUSE: Duration = Duration::from_millis(50);

/// The files with which an OAuth client authenticates.
#[derive(Clone, Debug)]
pub struct ClientFiles(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Secret(SecretFile),
    Key { key: SecretFile, id: Option<String>, certificate: Option<SecretFile> },
    Certificate { chain: SecretFile, key: Option<SecretFile> },
}

impl ClientFiles {
    /// Names the file with the client secret, which is sent in the header (`client_secret_basic`; RFC 6749, section
    /// 2.3.1).
    pub fn secret(path: impl Into<PathBuf>) -> Self {
        Self(Kind::Secret(SecretFile::new("client secret file", path.into())))
    }

    /// Names the file with the private key in PEM, which signs assertions (`private_key_jwt`; RFC 7523, section 2.2).
    pub fn private_key(path: impl Into<PathBuf>) -> Self {
        let key = SecretFile::new("client key file", path.into());
        Self(Kind::Key { key, id: None, certificate: None })
    }

    /// Names the file with the certificate chain in PEM, and the file with its private key, for mutual TLS (RFC 8705,
    /// section 2). Without the second file, the first contains both.
    pub fn certificate(chain: impl Into<PathBuf>, key: Option<PathBuf>) -> Self {
        let mut chain = SecretFile::new("client certificate file", chain.into());
        let key = key.map(|key| SecretFile::new("client key file", key));
        if key.is_some() {
            chain = chain.shared();
        }
        Self(Kind::Certificate { chain, key })
    }

    /// Sets the id by which the provider knows the private key (`kid`).
    pub fn with_key_id(mut self, id: impl Into<String>) -> Self {
        if let Kind::Key { id: known, .. } = &mut self.0 {
            *known = Some(id.into());
        }
        self
    }

    /// Names the file with the certificate of the private key, whose thumbprints identify it (`x5t`, `x5t#S256`).
    pub fn with_key_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        if let Kind::Key { certificate, .. } = &mut self.0 {
            *certificate = Some(SecretFile::new("client certificate file", path.into()).shared());
        }
        self
    }

    fn files(&self) -> Vec<&SecretFile> {
        match &self.0 {
            Kind::Secret(file) => vec![file],
            Kind::Key { key, certificate, .. } => std::iter::once(key).chain(certificate).collect(),
            Kind::Certificate { chain, key } => std::iter::once(chain).chain(key).collect(),
        }
    }

    /// Returns a number that changes when a file is replaced or modified.
    fn version(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        self.files().iter().for_each(|file| file.version().hash(&mut hash));
        hash.finish()
    }

    /// Returns the client as it authenticates with the current content of the files.
    async fn apply(&self, client: OAuthClient, http: &HttpClientBuilder) -> Result<OAuthClient, CredentialError> {
        match &self.0 {
            Kind::Secret(file) => Ok(client.with_secret_basic(file.read().await?)),
            Kind::Key { key: file, id, certificate } => {
                let unusable = |error| {
                    file.origin()
                        .unusable("it contains no usable key", "write a private key in PEM to it")
                        .because(error)
                };
                let key = PrivateKey::from_pem(&file.read().await?).map_err(|error| unusable(Box::new(error)))?;
                let key = id.iter().fold(key, PrivateKey::with_id);
                let key = match certificate {
                    Some(certificate) => {
                        let pem = certificate.read().await?;
                        let unusable = |error| {
                            certificate
                                .origin()
                                .unusable("it contains no certificate", "write a certificate in PEM to it")
                                .because(Box::new(error))
                        };
                        key.with_certificate(pem.expose()).map_err(unusable)?
                    }
                    None => key,
                };
                Ok(client.with_private_key(key))
            }
            Kind::Certificate { chain: file, key } => {
                let chain = file.read().await?;
                let key = match key {
                    Some(key) => key.read().await?,
                    None => chain.clone(),
                };
                let unusable = |error: auth_http::CertificateError| match error {
                    auth_http::CertificateError::Mismatch => {
                        file.origin().unreachable("the key does not match it", "replace both")
                    }
                    error => file.origin().unusable(error.to_string(), "write a certificate chain and its key in PEM"),
                };
                let certificate = ClientCertificate::from_pem(certificates(chain.expose()), key).map_err(unusable)?;
                let http = http.clone().with_client_certificate(certificate.chain(), certificate.key().clone()).build();
                let http = http
                    .map_err(|error| file.origin().unusable("no connection can use it", "replace it").because(error))?;
                Ok(client.with_http(http).with_mutual_tls())
            }
        }
    }
}

/// Returns the certificates of a PEM file that may also contain their private key.
fn certificates(pem: &str) -> String {
    let (mut text, mut is_inside) = (String::new(), false);
    for line in pem.lines() {
        is_inside |= line.trim() == "-----BEGIN CERTIFICATE-----";
        if is_inside {
            text.push_str(line.trim());
            text.push('\n');
        }
        is_inside &= line.trim() != "-----END CERTIFICATE-----";
    }
    text
}

/// An OAuth client that authenticates with the content of files. A replaced file takes effect with the next request.
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
    /// The client with the content of the files, and their version.
    loaded: Arc<Mutex<Option<(u64, OAuthClient)>>>,
}

impl FileClient {
    /// Creates a client with the properties of `client` that authenticates with `files`. Connections with a client
    /// certificate are built with `http`.
    pub fn new(client: OAuthClient, http: HttpClientBuilder, files: ClientFiles) -> Self {
        let client = if matches!(files.0, Kind::Certificate { .. }) { client.with_mutual_tls() } else { client };
        Self { client, http, files, loaded: Arc::default() }
    }

    /// Returns the client with the current content of the files.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used.
    pub async fn current(&self) -> Result<OAuthClient, CredentialError> {
        let mut retries = 0;
        loop {
            let version = self.files.version();
            let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some((_, client)) = loaded.filter(|(known, _)| *known == version) {
                return Ok(client);
            }
            match self.files.apply(self.client.clone(), &self.http).await {
                Ok(client) => {
                    *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some((version, client.clone()));
                    return Ok(client);
                }
                Err(error) if error.is_transient() && retries < MAX_RETRIES => retries += 1,
                Err(error) => return Err(error),
            }
            #[expect(clippy::disallowed_methods, reason = "the file system reports no event when both are replaced")]
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns a provider of the tokens of `grant`, which is created for the client.
    pub fn provider<P>(self, grant: impl Fn(OAuthClient) -> P + Send + Sync + 'static) -> Rotating<P> {
        Rotating { client: self, grant: Arc::new(grant) }
    }
}

/// A grant of a [`FileClient`].
pub struct Rotating<P> {
    client: FileClient,
    grant: Arc<dyn Fn(OAuthClient) -> P + Send + Sync>,
}

impl<P: AsyncTokenProvider> Rotating<P> {
    /// Returns the grant without the credentials of the client.
    fn template(&self) -> P {
        (self.grant)(self.client.client.clone())
    }
}

impl<P> fmt::Debug for Rotating<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rotating").field("client", &self.client).finish_non_exhaustive()
    }
}

#[async_trait]
impl<P: AsyncTokenProvider> AsyncTokenProvider for Rotating<P> {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        let client = self.client.current().await?;
        (self.grant)(client).fetch(request).await
    }

    /// Returns the identity of the grant, which does not change with the files.
    fn identity(&self) -> Option<String> {
        self.template().identity()
    }

    fn credential_version(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        (self.client.files.version(), self.template().credential_version()).hash(&mut hash);
        hash.finish()
    }
}
