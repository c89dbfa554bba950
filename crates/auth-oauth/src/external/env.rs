use std::sync::Arc;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenProvider, Clock, Secret, SystemClock, TokenError, TokenRequest};

use super::chain::Applicable;
use super::error::{CredentialError, Origin};
use super::text::{digest, usable};

/// A token in an environment variable. The variable is read once, when the provider is created, because only the
/// process itself can change it later.
///
/// An expired JWT is refused with its expiry before anything is sent.
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
        Self::of_value(name, value.map(Secret::new))
    }

    /// Creates a provider of a token that was read from the variable `name`; `None` if it is not set. An empty value
    /// counts as not set.
    pub fn of_value(name: impl Into<String>, value: Option<Secret>) -> Self {
        let value = value.filter(|value| !value.expose().is_empty());
        Self { origin: Origin::new("environment variable", name), value, audience: None, clock: Arc::new(SystemClock) }
    }

    /// Sets the audience that a JWT must be for.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets the clock by which a token has expired.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn token(&self) -> Result<AccessToken, CredentialError> {
        let absent = || self.origin.absent("it is not set", "set it to an access token");
        let value = self.value.as_ref().ok_or_else(absent)?;
        usable(&self.origin, value.expose(), self.clock.now(), self.audience.as_deref())
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

impl Applicable for EnvToken {
    fn applies(&self) -> Result<(), CredentialError> {
        match &self.value {
            Some(_) => Ok(()),
            None => Err(self.origin.absent("it is not set", "set it to an access token")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::external::text::tests::jwt;

    #[tokio::test]
    async fn value_of_the_variable_is_the_token() {
        let provider = EnvToken::of_value("X", Some(Secret::new(" canary\n")));
        let token = provider.fetch(&TokenRequest::new()).await.unwrap();
        assert_eq!(token.secret().expose(), "canary");
        assert!(!format!("{provider:?}").contains("canary") && !provider.identity().unwrap().contains("canary"));
        assert_ne!(provider.identity(), EnvToken::of_value("X", Some(Secret::new("other"))).identity());
    }

    #[tokio::test]
    async fn missing_and_expired_tokens_are_told_apart() {
        for absent in [EnvToken::of_value("X", None), EnvToken::of_value("X", Some(Secret::new("")))] {
            let error = absent.fetch(&TokenRequest::new()).await.unwrap_err();
            assert!(CredentialError::of(&error).unwrap().is_absent() && absent.applies().is_err());
        }
        let expired = EnvToken::of_value("X", Some(Secret::new(jwt(&serde_json::json!({ "exp": 1 })))));
        let error = expired.fetch(&TokenRequest::new()).await.unwrap_err();
        assert!(error.is_refused() && expired.applies().is_ok());
        let error = CredentialError::of(&error).unwrap();
        assert_eq!((error.provider(), error.origin()), ("environment variable", "X"));
        assert!(error.to_string().contains("1970-01-01T00:00:01Z"), "{error}");
    }
}
