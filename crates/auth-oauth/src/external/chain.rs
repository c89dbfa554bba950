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

/// A provider that uses the first of several providers that is configured in this environment.
///
/// The choice is made only once. If the chosen provider fails, the others are not used, because they might act as another
/// principal.
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
    links: Vec<Arc<dyn Link>>,
    chosen: Arc<OnceLock<usize>>,
}

trait Link: AsyncTokenProvider + ConfiguredProvider {}

impl<P: AsyncTokenProvider + ConfiguredProvider> Link for P {}

impl ProviderChain {
    /// Creates a chain without providers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a provider, which is used if none of the providers that were added before is configured.
    pub fn with(mut self, provider: impl AsyncTokenProvider + ConfiguredProvider + 'static) -> Self {
        self.links.push(Arc::new(provider));
        self.chosen = Arc::default();
        self
    }

    /// Returns the chosen provider. If none is configured, the error contains the reasons of all providers.
    fn chosen(&self) -> Result<&dyn Link, CredentialError> {
        if let Some(link) = self.chosen.get().and_then(|index| self.links.get(*index)) {
            return Ok(&**link);
        }
        let mut reasons = Vec::new();
        for (index, link) in self.links.iter().enumerate() {
            match link.check_configured() {
                Ok(()) => {
                    let index = *self.chosen.get_or_init(|| index);
                    return Ok(&*self.links[index]);
                }
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let reasons = reasons.join(" | ");
        let names = format!("{} providers", self.links.len());
        Err(Origin::new("provider chain", names)
            .not_configured(format!("none of them is configured ({reasons})"), "configure one of them"))
    }
}

impl fmt::Debug for ProviderChain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { links, chosen } = self;
        formatter.debug_struct("ProviderChain").field("links", links).field("chosen", chosen).finish()
    }
}

#[async_trait]
impl AsyncTokenProvider for ProviderChain {
    async fn fetch(&self, request: &TokenRequest) -> Result<AccessToken, TokenError> {
        self.chosen()?.fetch(request).await
    }

    async fn refresh(&self, request: &TokenRequest, previous: &AccessToken) -> Result<AccessToken, TokenError> {
        self.chosen()?.refresh(request, previous).await
    }

    async fn verify(&self, token: &AccessToken) -> Result<AccessToken, TokenError> {
        self.chosen()?.verify(token).await
    }

    /// Returns the identity of the chosen provider.
    fn identity(&self) -> Option<String> {
        self.chosen().ok()?.identity()
    }

    fn credential_version(&self) -> u64 {
        self.chosen().map_or(0, AsyncTokenProvider::credential_version)
    }

    fn needs_lease(&self) -> bool {
        self.chosen().is_ok_and(AsyncTokenProvider::needs_lease)
    }

    fn initial_credential(&self) -> Option<Secret> {
        self.chosen().ok()?.initial_credential()
    }

    fn is_interactive(&self) -> bool {
        self.chosen().is_ok_and(AsyncTokenProvider::is_interactive)
    }

    fn announces_redemption(&self) -> bool {
        self.chosen().is_ok_and(AsyncTokenProvider::announces_redemption)
    }

    fn is_cancelable(&self) -> bool {
        self.chosen().map_or(true, AsyncTokenProvider::is_cancelable)
    }

    fn needs_caller_runtime(&self) -> bool {
        self.chosen().is_ok_and(AsyncTokenProvider::needs_caller_runtime)
    }
}

impl ConfiguredProvider for ProviderChain {
    fn check_configured(&self) -> Result<(), CredentialError> {
        self.chosen().map(drop)
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
