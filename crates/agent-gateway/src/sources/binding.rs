use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use auth_core::Secret;
use auth_http::ClientCertificate;

use super::document::Document;
use super::environment;
use crate::credentials::{CredentialError, CredentialSource, Credentials};
use crate::server::{DirectoryError, Server, ServerDirectory};

const ROOT: &str = "SERVICE_BINDING_ROOT";
const DEFAULT_ROOT: &str = "/bindings";
/// The content of the binding's `type` file.
const TYPE: &str = "integration-credentials";
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

    fn read(&self) -> Result<Document, CredentialError> {
        let file = self.find()?;
        let text = fs::read_to_string(&file).map_err(|error| CredentialError::unreadable(&file, error))?;
        // The parsed document is not wiped on drop; its text is.
        let text = Secret::new(text);
        Document::parse(shown(&file), text.expose())
    }

    fn load(&self) -> Result<Credentials, CredentialError> {
        let document = self.read()?;
        let certificate =
            ClientCertificate::from_pem(document.text("certificate")?, Secret::new(document.text("privateKey")?))
                .map_err(|error| CredentialError::certificate(document.place(), error))?;
        let credentials = Credentials::new(document.url("tokenServiceUrl")?, document.text("clientid")?);
        Ok(credentials.with_certificate(certificate))
    }

    fn list(&self) -> Result<Vec<Server>, CredentialError> {
        let document = self.read()?;
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
