//! A running emulator.

mod builder;
mod environment;
mod servers;

use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use url::Url;

use crate::config::Config;
use crate::control::Control;
use crate::control::fixture::Fixture;
use crate::platform::Platform;
use crate::storage::ServiceAccount;

pub use builder::EmulatorBuilder;

/// A running emulator. Dropping it shuts the emulator down: requests in progress are completed, the processing of runs
/// stops, and the data are deleted unless they are in a data folder.
#[derive(Debug)]
pub struct Emulator {
    platform: Arc<Platform>,
    /// The URL of the API at its listening address, which may differ from its public URL.
    listening_url: Url,
    /// Dropping this stops the servers.
    _shutdown: watch::Sender<()>,
}

impl Emulator {
    /// Starts an emulator with the default configuration, on free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// The same as [`EmulatorBuilder::start`].
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Returns a builder with default settings.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    /// Returns the issuer of the tokens, as in their `iss` claim.
    pub fn issuer(&self) -> &Url {
        &self.platform.issuer
    }

    /// Returns the root of the API.
    pub fn api_root(&self) -> &Url {
        &self.platform.api_root
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.platform.config
    }

    /// Returns the token of the control routes, which is a secret. Returns `None` if the routes are disabled.
    pub fn control_token(&self) -> Option<&str> {
        self.platform.controls.as_ref().map(|controls| controls.token.as_str())
    }

    /// Returns a refresh token of a user for the interactive client, which is a secret. The token can be used any
    /// number of times, so that scripts can pass it in an environment variable.
    ///
    /// # Errors
    ///
    /// The user does not exist, or the token cannot be stored.
    pub async fn refresh_token(&self, user: &str) -> io::Result<String> {
        let user = self.platform.accounts.user(user).ok_or(io::ErrorKind::NotFound)?;
        self.platform.start_reusable_token_family(user).await.map_err(io::Error::other)
    }

    /// Returns the organizations, users, runs and results. The signed URLs of inputs are secrets.
    ///
    /// # Errors
    ///
    /// The file of a result cannot be read.
    pub fn export(&self) -> io::Result<Fixture> {
        Fixture::from_platform(&self.platform)
    }

    /// Returns a client for the control routes, or `None` if they are disabled.
    pub fn control(&self) -> Option<Control> {
        let token = self.platform.controls.as_ref()?.token.clone();
        Some(Control::new(self.platform.http.clone(), self.listening_url.clone(), token))
    }

    /// Returns the service account of an organization. It signs URLs to the organization's bucket (GOOG4-RSA-SHA256).
    ///
    /// # Errors
    ///
    /// No organization has this id, or its key cannot be generated or stored.
    pub async fn service_account(&self, organization: &str) -> io::Result<ServiceAccount> {
        let organization = self.platform.accounts.organization(organization).ok_or(io::ErrorKind::NotFound)?;
        self.platform.service_accounts.find_or_create(organization, self.platform.state.store()).await
    }

    /// Returns the root of the object storage.
    pub fn storage(&self) -> &Url {
        &self.platform.storage
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.platform.run_tasks.lock().abort_all();
    }
}
