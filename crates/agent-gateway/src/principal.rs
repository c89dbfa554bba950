use std::fmt;

use auth_core::{AccessToken, Secret, TokenRequest};

/// The identity that lists and calls tools.
///
/// A missing user is never treated as the system by accident: [`User::new`] rejects an empty assertion, and only
/// [`user_or_system`](Self::user_or_system) accepts `None`.
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
    /// A user. The tokens are obtained in exchange for an assertion of the user.
    User(User),
}

/// A user, identified by an assertion: a JWT that the token service trusts (RFC 7523), such as the token with which the
/// user called the agent. Tokens obtained with it expire no later than the assertion.
#[derive(Clone, PartialEq, Eq)]
pub struct User(TokenRequest);

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
        Ok(Self(TokenRequest::new().with_assertion(assertion)))
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

    /// Returns the token request of this identity.
    pub(crate) fn token_request(&self) -> TokenRequest {
        match self {
            Self::System => TokenRequest::default(),
            Self::User(User(request)) => request.clone(),
        }
    }

    /// Returns the name under which data of this identity is cached: the digest of the assertion, or an empty string
    /// for the system.
    pub(crate) fn cache_partition(&self) -> String {
        match self {
            Self::System => String::new(),
            Self::User(User(request)) => request.subject().unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("User(***)")
    }
}
