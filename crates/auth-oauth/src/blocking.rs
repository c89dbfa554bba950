//! Grants for callers without a runtime.

use std::future::Future;
use std::io;

use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenProvider, TokenRequest};
use auth_http::BlockingRuntime;

use crate::OAuthError;

/// A blocking adapter for any grant. It runs the grant on its own runtime.
///
/// A call inside an asynchronous runtime is an error ([`OAuthError::is_inside_runtime`]), because it would block a
/// thread of that runtime.
///
/// ```
/// # fn example(client: auth_oauth::OAuthClient) -> Result<(), Box<dyn std::error::Error>> {
/// use auth_core::blocking::TokenSource;
/// use auth_oauth::{BlockingProvider, ClientCredentials};
///
/// let key = client.token_key().build();
/// let source = TokenSource::new(key, BlockingProvider::new(ClientCredentials::new(client))?);
/// let token = source.token()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct BlockingProvider<P> {
    provider: P,
    runtime: BlockingRuntime,
}

impl<P: AsyncTokenProvider> BlockingProvider<P> {
    /// Creates an adapter for `provider`, with a single-threaded runtime.
    ///
    /// # Errors
    ///
    /// The thread of the runtime cannot be started.
    pub fn new(provider: P) -> io::Result<Self> {
        Ok(Self { provider, runtime: BlockingRuntime::new("auth-oauth")? })
    }

    fn run<T>(&self, call: impl Future<Output = Result<T, TokenError>>) -> Result<T, TokenError> {
        self.runtime.run(call).map_err(|_| TokenError::provider(OAuthError::inside_runtime()))?
    }
}

impl<P: AsyncTokenProvider> TokenProvider for BlockingProvider<P> {
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.run(self.provider.fetch(request))
    }

    fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.run(self.provider.refresh(request, previous))
    }

    fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        self.run(self.provider.verify(token))
    }

    fn identity(&self) -> Option<String> {
        self.provider.identity()
    }

    fn credential_version(&self) -> u64 {
        self.provider.credential_version()
    }

    fn needs_lease(&self) -> bool {
        self.provider.needs_lease()
    }

    fn initial_credential(&self) -> Option<Secret> {
        self.provider.initial_credential()
    }

    fn is_interactive(&self) -> bool {
        self.provider.is_interactive()
    }
}
