use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use auth_core::Secret;
use auth_http::ClientCertificate;
use zeroize::Zeroizing;

use super::document::Document;
use super::{environment, secret};
use crate::credentials::{CredentialError, CredentialSource, Credentials};
use crate::server::{DirectoryError, Server, ServerDirectory};

const ROOT: &str = "SERVICE_BINDING_ROOT";
const DEFAULT_ROOT: &str = "/bindings";
/// The content of the binding's `type` file.
const TYPE: &str = "integration-credentials";
/// The field of the private key.
const PRIVATE_KEY: &str = "privateKey";
/// The maximum size of a credentials file, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The credentials file, in the same folder.
const CREDENTIALS: &str = "credentials";

/// Credentials and servers in a folder of service bindings (servicebinding.io). Exactly one binding must have a `type`
/// file that contains `integration-credentials`. Its `credentials` file is a JSON object:
///
/// | field | meaning |
/// |---|---|
/// | `tokenServiceUrl` | the URL of the token endpoint |
/// | `clientid` | the client id |
/// | `certificate`, `privateKey` | the client certificate and its key, in PEM |
/// | `gatewayUrl` | the base URL of the gateway |
/// | `integrationDependencies` | a list of servers behind it, each with its `ordId` and `globalTenantId` |
///
/// While calls are made, the files are read again at an
/// [interval](crate::GatewayBuilder::with_watch_interval), so that a replaced certificate takes effect.
#[derive(Clone, Debug)]
pub struct ServiceBinding {
    root: PathBuf,
}

impl ServiceBinding {
    /// Returns the binding in the folder `root`, which contains one folder for each binding. No file is read yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the binding in the folder named by `SERVICE_BINDING_ROOT`, or else in `/bindings`. No file is read yet.
    pub fn from_environment() -> Self {
        let root = env::var_os(ROOT).filter(|root| !root.is_empty());
        Self::at(root.map_or_else(|| DEFAULT_ROOT.into(), PathBuf::from))
    }

    /// Finds the binding, and returns the path of its credentials file.
    pub(crate) fn find(&self) -> Result<PathBuf, CredentialError> {
        let none = || CredentialError::no_binding(&self.root, TYPE, ROOT, environment::CLIENT_ID);
        let entries = fs::read_dir(&self.root).map_err(|_| none())?;
        let mut folders: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        folders.sort();
        let says = |folder: &PathBuf| fs::read_to_string(folder.join("type")).is_ok_and(|text| text.trim() == TYPE);
        let mut found = folders.into_iter().filter(says);
        match (found.next(), found.next()) {
            (None, _) => Err(none()),
            (Some(folder), None) => Ok(folder.join(CREDENTIALS)),
            (Some(first), Some(second)) => Err(CredentialError::several(&first, &second)),
        }
    }

    /// Reads the credentials file, without its private key.
    fn read(&self) -> Result<(Document, Option<Secret>), CredentialError> {
        let file = self.find()?;
        let unreadable = |error| CredentialError::unreadable(&file, error);
        let mut opened = fs::File::open(&file).map_err(unreadable)?;
        // Of its final size, because a buffer that grows leaves copies.
        let size = opened.metadata().map_err(unreadable)?.len().min(MAX_BYTES);
        let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1));
        opened.by_ref().take(size + 1).read_to_end(&mut text).map_err(unreadable)?;
        let key = secret::take_out(&mut text, PRIVATE_KEY);
        Ok((Document::parse(shown(&file), &text)?, key))
    }

    fn load(&self) -> Result<Credentials, CredentialError> {
        let (document, key) = self.read()?;
        let certificate = document.text("certificate")?;
        let key = key.ok_or_else(|| document.missing(PRIVATE_KEY))?;
        let certificate = ClientCertificate::from_pem(certificate, key)
            .map_err(|error| CredentialError::certificate(document.place(), error))?;
        let credentials = super::credentials(document.url("tokenServiceUrl")?, document.text("clientid")?);
        let gateway_url = document.url("gatewayUrl")?;
        Ok(credentials.with_certificate(certificate).with_gateway_url(gateway_url))
    }

    fn list(&self) -> Result<Vec<Server>, CredentialError> {
        let (document, _) = self.read()?;
        document.servers("integrationDependencies", &document.url("gatewayUrl")?)
    }
}

fn shown(file: &Path) -> String {
    format!("the file {}", file.display())
}

/// Reads files on a blocking thread.
async fn apart<T: Send + 'static>(
    binding: &ServiceBinding,
    read: impl FnOnce(&ServiceBinding) -> Result<T, CredentialError> + Send + 'static,
) -> Result<T, CredentialError> {
    let binding = binding.clone();
    let reading = tokio::task::spawn_blocking(move || read(&binding)).await;
    reading.unwrap_or_else(|error| Err(CredentialError::other("the binding could not be read", error)))
}

#[async_trait]
impl CredentialSource for ServiceBinding {
    async fn credentials(&self) -> Result<Credentials, CredentialError> {
        apart(self, Self::load).await
    }
}

#[async_trait]
impl ServerDirectory for ServiceBinding {
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError> {
        Ok(apart(self, Self::list).await?)
    }
}
