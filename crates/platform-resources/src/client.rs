use std::path::PathBuf;

use auth_core::{Authority, BearerPolicy, Destination, TokenSource};
use auth_http::{HttpClient, HttpClientBuilder};
use platform_api::models::{Me, RunId};
use platform_api::operations::GetMe;
use url::Url;

use crate::{Applications, Error, RunHandle, Runs};

/// A client of one platform. Cheap to clone; clones share their connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) api: platform_api::Client,
    #[cfg(feature = "download")]
    pub(crate) storage: crate::bucket::Storage,
}

/// Sets up a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    root: Url,
    tokens: TokenSource,
    plain_loopback: bool,
    roots: Vec<PathBuf>,
    #[cfg(feature = "download")]
    storage_endpoint: Option<Url>,
}

/// A client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the client of the platform could not be set up")]
pub struct BuildError(#[from] auth_http::BuildError);

impl Client {
    /// Starts to set up a client of the platform at `root`, such as
    /// `https://platform.aignostics.com`, with tokens from `tokens`.
    pub fn builder(root: Url, tokens: TokenSource) -> ClientBuilder {
        ClientBuilder {
            root,
            tokens,
            plain_loopback: false,
            roots: Vec::new(),
            #[cfg(feature = "download")]
            storage_endpoint: None,
        }
    }

    /// Whom the token speaks for. The answer holds live credentials.
    ///
    /// # Errors
    ///
    /// The platform could not be asked, or refused.
    pub async fn me(&self) -> Result<Me, Error> {
        Ok(self.api.send(&GetMe::new()).await?)
    }

    /// The applications that the caller may use.
    pub fn applications(&self) -> Applications {
        Applications::new(self.api.clone())
    }

    /// The runs of the caller.
    pub fn runs(&self) -> Runs {
        Runs::new(self.clone())
    }

    /// One run. Nothing is asked for until a method of the handle is called.
    pub fn run(&self, id: impl Into<RunId>) -> RunHandle {
        RunHandle::new(self.clone(), id.into())
    }
}

impl ClientBuilder {
    /// Allows plain http to this machine: for emulators and tests.
    pub fn with_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// Trusts the certificates in a file (PEM) too, beside those that the system trusts.
    pub fn with_roots(mut self, file: impl Into<PathBuf>) -> Self {
        self.roots.push(file.into());
        self
    }

    /// Where the storage is; `https://storage.googleapis.com` if nothing is said.
    #[cfg(feature = "download")]
    pub fn with_storage_endpoint(mut self, endpoint: Url) -> Self {
        self.storage_endpoint = Some(endpoint);
        self
    }

    /// The client. Nothing is asked for yet, no token either.
    ///
    /// # Errors
    ///
    /// The system has no root certificates.
    pub fn build(self) -> Result<Client, BuildError> {
        let mut http = self.roots.iter().fold(HttpClient::builder(), HttpClientBuilder::with_roots);
        let mut destination = Destination::new(Authority::of(&self.root));
        if self.plain_loopback {
            (http, destination) = (http.with_plain_loopback(), destination.with_plain_loopback());
        }
        let api = http.clone().build()?.authorized(BearerPolicy::new(destination), self.tokens);
        Ok(Client {
            #[cfg(feature = "download")]
            storage: crate::bucket::Storage::new(http.without_decompression().build()?, self.storage_endpoint),
            api: platform_api::Client::new(api, self.root),
        })
    }
}
