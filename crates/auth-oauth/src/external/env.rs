use std::sync::Arc;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, Secret, SystemClock, TokenError, TokenRequest};

use super::chain::ConfiguredProvider;
use super::error::{CredentialError, Origin};
use super::text::{digest, token_from_text};

/// A provider of the token in an environment variable. The variable is read only when the provider is created, because
/// no other process can change it later.
///
/// If the token is an expired JWT, the error contains the expiry.
///
/// ```
/// use auth_core::{TokenKey, TokenSource};
/// use auth_oauth::EnvToken;
///
/// let provider = EnvToken::new("MY_ACCESS_TOKEN").with_audience("https://platform.example");
/// let source = TokenSource::new(TokenKey::new("https://issuer.example/"), provider);
/// ```
#[derive(Clone, Debug)]
pub struct EnvToken {
    origin: Origin,
    value: Option<Secret>,
    audience: Option<String>,
    clock: Arc<dyn Clock>,
}

impl EnvToken {
    /// Creates a provider of the token in the variable `name`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let value = std::env::var(&name).ok();
        Self::from_value(name, value.map(Secret::new))
    }

    /// Creates a provider of a token that the caller has read from the variable `name`. `value` is `None` if the
    /// variable is not set; an empty value is treated in the same way.
    pub fn from_value(name: impl Into<String>, value: Option<Secret>) -> Self {
        let value = value.filter(|value| !value.expose().is_empty());
        Self { origin: Origin::new("environment variable", name), value, audience: None, clock: Arc::new(SystemClock) }
    }

    /// Sets the required audience. A JWT with another audience is an error.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the clock that determines if a token has expired. The default is the system clock.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn token(&self) -> Result<AccessToken, CredentialError> {
        let not_set = || self.origin.not_configured("it is not set", "set it to an access token");
        let value = self.value.as_ref().ok_or_else(not_set)?;
        token_from_text(&self.origin, value.expose(), self.clock.now(), self.audience.as_deref())
    }
}

#[async_trait]
impl AsyncTokenProvider for EnvToken {
    async fn fetch(&self, _request: &TokenRequest) -> Result<AccessToken, TokenError> {
        Ok(self.token()?)
    }

    /// Returns an identity derived from the token.
    fn identity(&self) -> Option<String> {
        Some(format!("env_token {}", digest([self.value.as_ref()?.expose()])))
    }
}

impl ConfiguredProvider for EnvToken {
    fn check_configured(&self) -> Result<(), CredentialError> {
        match &self.value {
            Some(_) => Ok(()),
            None => Err(self.origin.not_configured("it is not set", "set it to an access token")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::external::text::tests::jwt;

    #[tokio::test]
    async fn token_is_the_trimmed_value_of_the_variable() {
        let provider = EnvToken::from_value("X", Some(Secret::new(" canary\n")));
        let token = provider.fetch(&TokenRequest::new()).await.unwrap();
        assert_eq!(token.secret().expose(), "canary");
        assert!(!format!("{provider:?}").contains("canary") && !provider.identity().unwrap().contains("canary"));
        assert_ne!(provider.identity(), EnvToken::from_value("X", Some(Secret::new("other"))).identity());
    }

    #[tokio::test]
    async fn missing_variable_and_expired_token_are_different_errors() {
        for unset_variable in [EnvToken::from_value("X", None), EnvToken::from_value("X", Some(Secret::new("")))] {
            let error = unset_variable.fetch(&TokenRequest::new()).await.unwrap_err();
            assert!(
                CredentialError::of(&error).unwrap().is_not_configured() && unset_variable.check_configured().is_err()
            );
        }
        let expired_token = EnvToken::from_value("X", Some(Secret::new(jwt(&serde_json::json!({ "exp": 1 })))));
        let error = expired_token.fetch(&TokenRequest::new()).await.unwrap_err();
        assert!(error.is_refused() && expired_token.check_configured().is_ok());
        let error = CredentialError::of(&error).unwrap();
        assert_eq!((error.provider(), error.origin()), ("environment variable", "X"));
        assert!(error.to_string().contains("1970-01-01T00:00:01Z"), "{error}");
    }
}
