use std::fmt;

use auth_core::{AccessToken, Secret, TokenRequest};

use crate::tenant::Tenant;

/// The identity that lists and calls tools.
///
/// A missing user is never treated as the system by accident: [`User::new`] rejects an empty assertion. Only
/// [`user_or_system`](Self::user_or_system) accepts a missing assertion (`None`), and then returns the system.
///
/// ```
/// use agent_gateway::{Principal, User};
/// use auth_core::Secret;
///
/// let user = Principal::User(User::new(Secret::new("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJl"))?);
/// assert!(User::new(Secret::new(" ")).is_err());
/// # Ok::<(), agent_gateway::AssertionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Principal {
    /// The agent itself, without a user. Its tokens are obtained with the credentials of the agent.
    System,
    /// The agent itself, for one of its tenants, without a user.
    SystemOf(Tenant),
    /// A user. The tokens are obtained in exchange for an assertion of the user.
    User(User),
}

/// A user, identified by an assertion: a JWT that the token service trusts (RFC 7523), such as the token with which the
/// user called the agent. Tokens obtained with it expire no later than the assertion.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    request: TokenRequest,
    tenant: Option<Tenant>,
}

/// The part of the caches that belongs to a principal: its tenant and, for a user, the digest of the assertion. Data of
/// one partition is never used for another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CachePartition {
    tenant: Option<Tenant>,
    subject: Option<String>,
}

/// The error of an assertion that is empty, or that cannot be sent as a token.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the assertion of the user is empty or has characters that a token cannot have: pass the token of the user's login"
)]
#[non_exhaustive]
pub struct AssertionError;

impl User {
    /// Returns the user that is the subject of `assertion`. The prefix `Bearer ` is removed.
    ///
    /// # Errors
    ///
    /// The assertion is empty, or contains spaces, control characters or non-ASCII characters.
    pub fn new(assertion: Secret) -> Result<Self, AssertionError> {
        let assertion = AccessToken::new(assertion).map_err(|_| AssertionError)?;
        let expiry = assertion.jwt_expiry();
        let assertion = expiry.into_iter().fold(assertion, AccessToken::with_expires_at);
        Ok(Self { request: TokenRequest::new().with_assertion(assertion), tenant: None })
    }

    /// Sets the tenant of the user.
    pub fn with_tenant(self, tenant: Tenant) -> Self {
        Self { request: self.request.with_tenant(tenant.as_str()), tenant: Some(tenant) }
    }
}

impl Principal {
    /// Returns the user that is the subject of `assertion`, or the system if it is `None`.
    ///
    /// # Errors
    ///
    /// The assertion is not valid, as for [`User::new`].
    pub fn user_or_system(assertion: Option<Secret>) -> Result<Self, AssertionError> {
        assertion.map_or(Ok(Self::System), |assertion| User::new(assertion).map(Self::User))
    }

    /// Sets the tenant. Tokens, tools, agents and sessions of one tenant are never used for another.
    pub fn with_tenant(self, tenant: Tenant) -> Self {
        match self {
            Self::System | Self::SystemOf(_) => Self::SystemOf(tenant),
            Self::User(user) => Self::User(user.with_tenant(tenant)),
        }
    }

    /// Returns the tenant, or `None` if there is only one.
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::System => None,
            Self::SystemOf(tenant) => Some(tenant),
            Self::User(user) => user.tenant.as_ref(),
        }
    }

    /// Returns the token request of this principal.
    pub(crate) fn token_request(&self) -> TokenRequest {
        match self {
            Self::System => TokenRequest::default(),
            Self::SystemOf(tenant) => TokenRequest::new().with_tenant(tenant.as_str()),
            Self::User(user) => user.request.clone(),
        }
    }

    /// Returns the cache partition of this principal.
    pub(crate) fn cache_partition(&self) -> CachePartition {
        let subject = match self {
            Self::System | Self::SystemOf(_) => None,
            Self::User(user) => user.request.subject().map(str::to_owned),
        };
        CachePartition { tenant: self.tenant().cloned(), subject }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("User(***)")
    }
}
