use std::collections::BTreeSet;

/// What a token is wanted for, beyond what its [`TokenSource`](crate::TokenSource) was made for.
/// All of it is optional; an empty request asks for the token of the source itself.
///
/// Two requests that differ in anything never share a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenRequest {
    pub(crate) scopes: BTreeSet<String>,
    pub(crate) audience: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) claims: Option<String>,
    pub(crate) tenant: Option<String>,
}

impl TokenRequest {
    /// An empty request.
    pub fn new() -> Self {
        Self::default()
    }

    /// The scopes that the token should carry, in place of those of the source.
    pub fn with_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The service that the token should be meant for.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Whom the token should speak for. A source that serves several users needs it to keep their
    /// tokens apart.
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Claims that the token must fulfil, as a server asked for them (the `claims` parameter of
    /// `OpenID` Connect Core, section 5.5).
    pub fn with_claims(mut self, claims: impl Into<String>) -> Self {
        self.claims = Some(claims.into());
        self
    }

    /// The tenant or organisation that the token should be limited to.
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// The scopes that the token should carry.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(String::as_str)
    }

    /// The service that the token should be meant for.
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// Whom the token should speak for.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Claims that the token must fulfil.
    pub fn claims(&self) -> Option<&str> {
        self.claims.as_deref()
    }

    /// The tenant or organisation that the token should be limited to.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
}
