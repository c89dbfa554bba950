use std::collections::BTreeSet;

/// What a cached token was issued for: two requests share a token only if their keys are equal.
///
/// The order in which scopes are given does not matter.
///
/// ```
/// use auth_core::TokenKey;
///
/// let key = TokenKey::new("https://issuer.example/").with_scopes(["openid", "offline_access"]);
/// assert_eq!(key, TokenKey::new("https://issuer.example/").with_scopes(["offline_access", "openid"]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey {
    issuer: String,
    client_id: Option<String>,
    audience: Option<String>,
    scopes: BTreeSet<String>,
}

impl TokenKey {
    /// The key of tokens that `issuer` gives out.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), client_id: None, audience: None, scopes: BTreeSet::new() }
    }

    /// The OAuth client that the token is issued to.
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// The service that the token is meant for.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// The scopes that the token carries.
    pub fn with_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }
}
