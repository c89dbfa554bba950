use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Secret, TokenError, TokenRequest};

use super::error::{CredentialError, Origin};

/// A provider that can check, without a request, if it is configured in this environment.
pub trait ConfiguredProvider {
    /// Checks if the provider is configured.
    ///
    /// # Errors
    ///
    /// [`CredentialError::is_not_configured`], with the reason.
    fn check_configured(&self) -> Result<(), CredentialError>;
}

/// A chain of providers. It uses the first provider that is configured in this environment.
///
/// The chain chooses the provider only once. If that provider fails, the chain does not use another one, because it
/// might act as another principal.
///
/// ```
/// use auth_oauth::{CommandProvider, EnvToken, FileToken, ProviderChain};
///
/// let chain = ProviderChain::new()
///     .with(EnvToken::new("MY_ACCESS_TOKEN"))
///     .with(FileToken::new("/run/secrets/platform/token"))
///     .with(CommandProvider::new("/usr/local/bin/platform-token"));
/// ```
#[derive(Clone, Default)]
pub struct ProviderChain {
    providers: Vec<Arc<dyn ChainedProvider>>,
    chosen_index: Arc<OnceLock<usize>>,
}

trait ChainedProvider: AsyncTokenProvider + ConfiguredProvider {}

impl<P: AsyncTokenProvider + ConfiguredProvider> ChainedProvider for P {}

impl ProviderChain {
    /// Creates a chain without providers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a provider. It is used only if no provider that was added earlier is configured.
    pub fn with(mut self, provider: impl AsyncTokenProvider + ConfiguredProvider + 'static) -> Self {
        self.providers.push(Arc::new(provider));
        self.chosen_index = Arc::default();
        self
    }

    /// Returns the chosen provider. If none is configured, the error lists the reason of each provider.
    fn chosen_provider(&self) -> Result<&dyn ChainedProvider, CredentialError> {
        if let Some(provider) = self.chosen_index.get().and_then(|index| self.providers.get(*index)) {
            return Ok(&**provider);
        }
        let mut reasons = Vec::new();
        for (index, provider) in self.providers.iter().enumerate() {
            match provider.check_configured() {
                Ok(()) => {
                    let index = *self.chosen_index.get_or_init(|| index);
                    return Ok(&*self.providers[index]);
                }
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let reasons = reasons.join(" | ");
        let names = format!("{} providers", self.providers.len());
        Err(Origin::new("provider chain", names)
            .not_configured(format!("none of them is configured ({reasons})"), "configure one of them"))
    }
}

impl fmt::Debug for ProviderChain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { providers, chosen_index } = self;
        formatter.debug_struct("ProviderChain").field("providers", providers).field("chosen", chosen_index).finish()
    }
}

#[async_trait]
impl AsyncTokenProvider for ProviderChain {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.chosen_provider()?.fetch(request).await
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.chosen_provider()?.refresh(request, previous).await
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        self.chosen_provider()?.verify(token).await
    }

    /// Returns the identity of the chosen provider.
    fn identity(&self) -> Option<String> {
        self.chosen_provider().ok()?.identity()
    }

    fn credential_version(&self) -> u64 {
        self.chosen_provider().map_or(0, AsyncTokenProvider::credential_version)
    }

    fn needs_lease(&self) -> bool {
        self.chosen_provider().is_ok_and(AsyncTokenProvider::needs_lease)
    }

    fn initial_credential(&self) -> Option<Secret> {
        self.chosen_provider().ok()?.initial_credential()
    }

    fn is_interactive(&self) -> bool {
        self.chosen_provider().is_ok_and(AsyncTokenProvider::is_interactive)
    }

    fn announces_redemption(&self) -> bool {
        self.chosen_provider().is_ok_and(AsyncTokenProvider::announces_redemption)
    }

    fn is_cancelable(&self) -> bool {
        self.chosen_provider().map_or(true, AsyncTokenProvider::is_cancelable)
    }

    fn needs_caller_runtime(&self) -> bool {
        self.chosen_provider().is_ok_and(AsyncTokenProvider::needs_caller_runtime)
    }
}

impl ConfiguredProvider for ProviderChain {
    fn check_configured(&self) -> Result<(), CredentialError> {
        self.chosen_provider().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EnvToken, FileToken};

    fn env(name: &str, value: Option<&str>) -> EnvToken {
        EnvToken::from_value(name, value.map(Secret::new))
    }

    #[tokio::test]
    async fn first_configured_provider_is_used_without_fallback() {
        let chain =
            ProviderChain::new().with(env("A", None)).with(env("B", Some("two words"))).with(env("C", Some("c")));
        let error = chain.fetch(&TokenRequest::new()).await.unwrap_err();
        assert_eq!(CredentialError::of(&error).unwrap().origin(), "B");
        assert_eq!(chain.identity(), env("B", Some("two words")).identity());
        let chain = ProviderChain::new().with(env("A", None)).with(env("C", Some("c")));
        assert_eq!(chain.fetch(&TokenRequest::new()).await.unwrap().secret().expose(), "c");
    }

    #[tokio::test]
    async fn error_lists_the_providers_and_why_they_are_not_configured() {
        let chain = ProviderChain::new().with(env("A", None)).with(FileToken::new("/does/not/exist"));
        let error = chain.fetch(&TokenRequest::new()).await.unwrap_err();
        let text = CredentialError::of(&error).unwrap().to_string();
        for part in ["'A': it is not set", "'/does/not/exist': it does not exist"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(chain.identity(), None);
    }

    #[tokio::test]
    async fn choice_does_not_change_when_another_provider_is_configured_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let chain = ProviderChain::new().with(FileToken::new(&path).allow_shared()).with(env("C", Some("c")));
        assert_eq!(chain.fetch(&TokenRequest::new()).await.unwrap().secret().expose(), "c");
        std::fs::write(&path, "from-the-file").unwrap();
        assert_eq!(chain.fetch(&TokenRequest::new()).await.unwrap().secret().expose(), "c");
    }
}
