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

/// The variable with the folder of service bindings.
const ROOT_VARIABLE: &str = "SERVICE_BINDING_ROOT";
/// The folder of service bindings if the variable is not set.
const DEFAULT_ROOT: &str = "/bindings";
/// The content of the binding's `type` file.
const BINDING_TYPE: &str = "integration-credentials";
/// The field of the private key.
const PRIVATE_KEY: &str = "privateKey";
/// The maximum size of a credentials file, in bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// The name of the credentials file, next to the `type` file.
const CREDENTIALS_FILE: &str = "credentials";

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
        let root = env::var_os(ROOT_VARIABLE).filter(|root| !root.is_empty());
        Self::at(root.map_or_else(|| DEFAULT_ROOT.into(), PathBuf::from))
    }

    /// Finds the binding, and returns the path of its credentials file.
    pub(crate) fn find_credentials_file(&self) -> Result<PathBuf, CredentialError> {
        let no_binding =
            || CredentialError::no_binding(&self.root, BINDING_TYPE, ROOT_VARIABLE, environment::CLIENT_ID);
        let entries = fs::read_dir(&self.root).map_err(|_| no_binding())?;
        let mut folders: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        folders.sort();
        let has_type =
            |folder: &PathBuf| fs::read_to_string(folder.join("type")).is_ok_and(|text| text.trim() == BINDING_TYPE);
        let mut matching_folders = folders.into_iter().filter(has_type);
        match (matching_folders.next(), matching_folders.next()) {
            (None, _) => Err(no_binding()),
            (Some(folder), None) => Ok(folder.join(CREDENTIALS_FILE)),
            (Some(first), Some(second)) => Err(CredentialError::several_bindings(&first, &second)),
        }
    }

    /// Reads the credentials file, without its private key.
    fn read_document(&self) -> Result<(Document, Option<Secret>), CredentialError> {
        let file = self.find_credentials_file()?;
        let unreadable = |error| CredentialError::unreadable(&file, error);
        let mut file_handle = fs::File::open(&file).map_err(unreadable)?;
        // The buffer has its final size, because a buffer that grows leaves copies of the key in memory.
        let size = file_handle.metadata().map_err(unreadable)?.len().min(MAX_FILE_BYTES);
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1));
        file_handle.by_ref().take(size + 1).read_to_end(&mut content).map_err(unreadable)?;
        let key = secret::take(&mut content, PRIVATE_KEY);
        Ok((Document::parse(file_location(&file), &content)?, key))
    }

    fn read_credentials(&self) -> Result<Credentials, CredentialError> {
        let (document, key) = self.read_document()?;
        let certificate = document.required_string("certificate")?;
        let key = key.ok_or_else(|| document.missing_string(PRIVATE_KEY))?;
        let certificate = ClientCertificate::from_pem(certificate, key)
            .map_err(|error| CredentialError::certificate(document.location(), error))?;
        let credentials = super::credentials(document.url("tokenServiceUrl")?, document.required_string("clientid")?);
        let gateway_url = document.url("gatewayUrl")?;
        Ok(credentials.with_certificate(certificate).with_gateway_url(gateway_url))
    }

    fn read_servers(&self) -> Result<Vec<Server>, CredentialError> {
        let (document, _) = self.read_document()?;
        document.servers("integrationDependencies", &document.url("gatewayUrl")?)
    }
}

fn file_location(file: &Path) -> String {
    format!("the file {}", file.display())
}

/// Reads the files of a binding on a thread that may block.
async fn read_blocking<T: Send + 'static>(
    binding: &ServiceBinding,
    read_binding: impl FnOnce(&ServiceBinding) -> Result<T, CredentialError> + Send + 'static,
) -> Result<T, CredentialError> {
    let binding = binding.clone();
    let result = tokio::task::spawn_blocking(move || read_binding(&binding)).await;
    result.unwrap_or_else(|error| Err(CredentialError::other("the binding could not be read", error)))
}

#[async_trait]
impl CredentialSource for ServiceBinding {
    async fn credentials(&self) -> Result<Credentials, CredentialError> {
        read_blocking(self, Self::read_credentials).await
    }
}

#[async_trait]
impl ServerDirectory for ServiceBinding {
    async fn servers(&self) -> Result<Vec<Server>, DirectoryError> {
        Ok(read_blocking(self, Self::read_servers).await?)
    }
}
