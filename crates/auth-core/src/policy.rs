//! Policies that decide which credential a request gets, and how to react to a rejection. A policy neither sends
//! requests nor obtains tokens.

pub(crate) mod authority;
pub(crate) mod challenge;

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::token::is_bearer;
use crate::{AccessToken, Challenge, Destination, Secret, TokenError, TokenRequest};

/// A policy for bearer tokens (RFC 6750): the destination that may receive them, the header that carries them, and the
/// reaction to a 401.
///
/// ```
/// use auth_core::{AccessToken, Authority, BearerPolicy, Destination};
/// use url::Url;
///
/// let url: Url = "https://platform.example/api".parse().unwrap();
/// let policy = BearerPolicy::new(Destination::new(Authority::of(&url)));
/// policy.admit(&url)?;
/// assert_eq!(policy.header(&AccessToken::try_from("abc")?)?.expose(), "Bearer abc");
/// let other: Url = "https://other.example/".parse().unwrap();
/// assert!(policy.admit(&other).unwrap_err().is_wrong_authority());
/// # Ok::<(), auth_core::TokenError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BearerPolicy {
    destination: Destination,
    handlers: Vec<Arc<dyn ChallengeHandler>>,
}

/// The stage of a request when its response arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The request was sent once.
    First {
        /// True if the request can be sent again, because its body is still available.
        replayable: bool,
    },
    /// The request was resent after a 401.
    Resent,
}

/// The reaction to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reaction {
    /// Deliver the response to the caller. The token was not rejected.
    Deliver,
    /// Reject the token, and deliver the response to the caller, because the request cannot be sent again.
    Reject,
    /// Reject the token, obtain another one for this token request, and resend the request once.
    Resend(TokenRequest),
}

/// A handler for challenges in a 401 response that require a different token, such as a challenge that requires
/// additional claims, or one of a custom scheme.
pub trait ChallengeHandler: fmt::Debug + Send + Sync {
    /// Returns the token request to use instead of `request`, or `None` if this handler does not support the
    /// challenges.
    fn handle(&self, challenges: &[Challenge], request: &TokenRequest) -> Option<TokenRequest>;
}

const _: Option<&dyn ChallengeHandler> = None;

impl BearerPolicy {
    /// Creates a policy for `destination`.
    pub fn new(destination: Destination) -> Self {
        Self { destination, handlers: Vec::new() }
    }

    /// Adds a handler for challenges. Handlers are called in this order, and the first returned token request is used.
    pub fn with_challenge_handler(mut self, handler: Arc<dyn ChallengeHandler>) -> Self {
        self.handlers.push(handler);
        self
    }

    /// Checks that a request to `url` may carry a token. Call this before obtaining the token.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_wrong_authority`] or [`TokenError::is_insecure`].
    pub fn admit(&self, url: &Url) -> Result<(), TokenError> {
        self.destination.admit(url)
    }

    /// Returns the value of the `Authorization` header (RFC 6750, section 2.1). The scheme is always `Bearer`,
    /// regardless of the spelling of the token type.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_unsupported_type`]: a token of another type must not be used as a bearer token (RFC 6749,
    /// section 7.1).
    pub fn header(&self, token: &AccessToken) -> Result<Secret, TokenError> {
        let secret = token.secret().expose();
        if !is_bearer(token.token_type()) {
            return Err(TokenError::unsupported_type(token.token_type(), [secret]));
        }
        Ok(Secret::new(format!("Bearer {secret}")))
    }

    /// Returns the reaction to a response with this status and these `WWW-Authenticate` headers. `request` is the token
    /// request for which the sent token was obtained.
    ///
    /// Only a 401 means that the token was rejected. A 403 means that its permissions are insufficient, and a 407 comes
    /// from a proxy.
    pub fn react(&self, status: u16, www_authenticate: &[&str], request: &TokenRequest, stage: Stage) -> Reaction {
        match (status, stage) {
            (401, Stage::First { replayable: false }) => Reaction::Reject,
            (401, Stage::First { replayable: true }) => {
                let challenges: Vec<_> = www_authenticate.iter().flat_map(|header| Challenge::parse(header)).collect();
                let new_request = self.handlers.iter().find_map(|handler| handler.handle(&challenges, request));
                Reaction::Resend(new_request.unwrap_or_else(|| request.clone()))
            }
            _ => Reaction::Deliver,
        }
    }
}

/// A policy for a static key in a custom header.
#[derive(Clone, Debug)]
pub struct KeyPolicy {
    destination: Destination,
    header: String,
    key: Secret,
}

impl KeyPolicy {
    /// Creates a policy that sends `key` in the header `header` to `destination`.
    pub fn new(destination: Destination, header: impl Into<String>, key: Secret) -> Self {
        Self { destination, header: header.into(), key }
    }

    /// Returns the name and the value of the header for a request to `url`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_wrong_authority`] or [`TokenError::is_insecure`].
    pub fn authorize(&self, url: &Url) -> Result<(&str, &Secret), TokenError> {
        self.destination.admit(url).map(|()| (self.header.as_str(), &self.key))
    }
}

/// A policy for HTTP basic authentication with a user name and a password (RFC 7617).
#[derive(Clone, Debug)]
pub struct BasicPolicy {
    destination: Destination,
    header: Secret,
}

impl BasicPolicy {
    /// Creates a policy that sends `user` and `password` to `destination`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`]: the user name contains a colon, or the user name or the password contains a
    /// control character.
    pub fn new(destination: Destination, user: &str, password: &Secret) -> Result<Self, TokenError> {
        if user.contains(':') {
            return Err(TokenError::malformed("the user name contains a colon"));
        }
        let credentials = format!("{user}:{}", password.expose());
        if credentials.contains(char::is_control) {
            return Err(TokenError::malformed("the user name or the password contains a control character"));
        }
        Ok(Self { destination, header: Secret::new(format!("Basic {}", STANDARD.encode(credentials))) })
    }

    /// Returns the value of the `Authorization` header for a request to `url`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_wrong_authority`] or [`TokenError::is_insecure`].
    pub fn authorize(&self, url: &Url) -> Result<&Secret, TokenError> {
        self.destination.admit(url).map(|()| &self.header)
    }
}
