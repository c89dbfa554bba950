use std::fmt;

use auth_core::{AccessToken, Secret, TokenRequest};

/// For whom tools are listed and called.
///
/// Nobody becomes the system by mistake: whoever has no user, and wants to go on as the system, says so by name
/// ([`user_or_system`](Self::user_or_system)).
///
/// ```
/// use agent_gateway::{Principal, User};
/// use auth_core::Secret;
///
/// let user = Principal::User(User::new(Secret::new("a JWT that the user's login has brought".replace(' ', "-")))?);
/// assert!(User::new(Secret::new(" ")).is_err());
/// # Ok::<(), agent_gateway::AssertionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The system that the agent runs as, with a token for its own credentials.
    System,
    /// A user, with a token in exchange for what the user has shown.
    User(User),
}

/// A user, by an assertion of who that is: a JWT that the token service trusts (RFC 7523), such as the token that the
/// user has called the agent with. The tokens that it is exchanged for end with it.
#[derive(Clone, PartialEq, Eq)]
pub struct User(TokenRequest);

/// A user has shown nothing that could be an assertion.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the assertion of the user is empty, or no text that a token could be: pass on what the user's login has brought"
)]
#[non_exhaustive]
pub struct AssertionError;

impl User {
    /// The user whom `assertion` speaks for. A `Bearer ` before it is removed.
    ///
    /// # Errors
    ///
    /// It is empty, or holds what no token does: spaces, control characters, other than ASCII.
    pub fn new(assertion: Secret) -> Result<Self, AssertionError> {
        let assertion = AccessToken::new(assertion).map_err(|_| AssertionError)?;
        let end = assertion.jwt_expiry();
        let assertion = end.into_iter().fold(assertion, AccessToken::with_expires_at);
        Ok(Self(TokenRequest::new().with_assertion(assertion)))
    }
}

impl Principal {
    /// The user whom `assertion` speaks for, or the system if there is none.
    ///
    /// # Errors
    ///
    /// There is one, but it is empty, or holds what no token does.
    pub fn user_or_system(assertion: Option<Secret>) -> Result<Self, AssertionError> {
        assertion.map_or(Ok(Self::System), |assertion| User::new(assertion).map(Self::User))
    }

    /// What its tokens are asked for with.
    pub(crate) fn token_request(&self) -> TokenRequest {
        match self {
            Self::System => TokenRequest::default(),
            Self::User(User(request)) => request.clone(),
        }
    }

    /// What is kept for it is kept under this name, which tells nothing.
    pub(crate) fn name(&self) -> String {
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
