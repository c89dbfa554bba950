//! A running emulator.

mod builder;
mod servers;

use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use url::Url;

use crate::config::Config;
use crate::control::Control;
use crate::platform::Platform;
use crate::storage::ServiceAccount;

pub use builder::EmulatorBuilder;

/// A running platform. It ends when this is dropped: requests that are being answered get their answer,
/// runs stop, and the data are deleted, unless they lie in a folder that was named.
#[derive(Debug)]
pub struct Emulator {
    platform: Arc<Platform>,
    /// Where the API listens, whatever clients call it.
    listening: Url,
    /// The servers end when this is dropped.
    _running: watch::Sender<()>,
}

impl Emulator {
    /// Starts a platform with everything as it is by default, on free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// Those of [`EmulatorBuilder::start`].
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Sets up a platform.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    /// The issuer of the tokens, as their `iss` claim spells it.
    pub fn issuer(&self) -> &Url {
        &self.platform.issuer
    }

    /// The root of the API.
    pub fn api_root(&self) -> &Url {
        &self.platform.api_root
    }

    /// What it has and how it behaves.
    pub fn config(&self) -> &Config {
        &self.platform.config
    }

    /// The token of the control routes, if it was started with them. A secret.
    pub fn control_token(&self) -> Option<&str> {
        self.platform.controls.as_ref().map(|controls| controls.token.as_str())
    }

    /// A refresh token of a user for the interactive client, that can be used again and again, as variables
    /// for scripts need it. A secret.
    ///
    /// # Errors
    ///
    /// There is no such user, or the token cannot be written down.
    pub async fn refresh_token(&self, user: &str) -> io::Result<String> {
        let user = self.platform.accounts.user(user).ok_or(io::ErrorKind::NotFound)?;
        self.platform.start_lasting_family(user).await.map_err(io::Error::other)
    }

    /// The controls, if it was started with them.
    pub fn control(&self) -> Option<Control> {
        let token = self.platform.controls.as_ref()?.token.clone();
        Some(Control::new(self.platform.http.clone(), self.listening.clone(), token))
    }

    /// The service account of an organisation, which signs URLs to its bucket (GOOG4-RSA-SHA256).
    ///
    /// # Errors
    ///
    /// There is no organisation with this id, or its key cannot be made or written down.
    pub async fn service_account(&self, organization: &str) -> io::Result<ServiceAccount> {
        let organization = self.platform.accounts.organization(organization).ok_or(io::ErrorKind::NotFound)?;
        self.platform.service_accounts.of(organization, self.platform.state.store()).await
    }

    /// The root of the object storage.
    pub fn storage(&self) -> &Url {
        &self.platform.storage
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.platform.work.lock().abort_all();
    }
}
