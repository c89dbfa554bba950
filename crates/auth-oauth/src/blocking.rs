//! Grants for callers without a runtime.

use std::fmt;
use std::future::Future;
use std::io;

use auth_core::{AccessToken, AsyncTokenProvider, TokenError, TokenProvider, TokenRequest};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::OAuthError;

/// Any grant for blocking callers: the same code, on a runtime of its own. Inside a runtime, whose thread it would
/// hold up, it refuses ([`OAuthError::is_inside_runtime`]).
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
pub struct BlockingProvider<P> {
    provider: P,
    /// Taken only when this is dropped.
    runtime: Option<Runtime>,
}

impl<P: AsyncTokenProvider> BlockingProvider<P> {
    /// `provider`, and a runtime of one thread to run it on.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn new(provider: P) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("auth-oauth").enable_all().build()?;
        Ok(Self { provider, runtime: Some(runtime) })
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, TokenError>>) -> Result<T, TokenError> {
        match &self.runtime {
            Some(runtime) if Handle::try_current().is_err() => runtime.block_on(work),
            _ => Err(TokenError::provider(OAuthError::inside_runtime())),
        }
    }
}

impl<P: AsyncTokenProvider> TokenProvider for BlockingProvider<P> {
    fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.run(self.provider.fetch(request))
    }

    fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.run(self.provider.refresh(request, previous))
    }

    fn credential_version(&self) -> u64 {
        self.provider.credential_version()
    }
}

impl<P> Drop for BlockingProvider<P> {
    /// Without waiting, as it may be dropped where nobody may wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl<P: fmt::Debug> fmt::Debug for BlockingProvider<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("BlockingProvider").field(&self.provider).finish()
    }
}
