//! Which requests carry which credential, and what to do when one is refused. Pure decisions: nothing
//! here sends a request or fetches a token.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::token::is_bearer;
use crate::{AccessToken, Challenge, Destination, Secret, TokenError, TokenRequest};

/// Bearer tokens (RFC 6750): where they may go, how they are written, and what a 401 means.
#[derive(Clone, Debug)]
pub struct BearerPolicy {
    destination: Destination,
    handlers: Vec<Arc<dyn ChallengeHandler>>,
}

/// How far a request is when its answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was sent once.
    First {
        /// It could be sent again: its body is still there.
        replayable: bool,
    },
    /// It was sent again after a 401.
    Resent,
}

/// What to do with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It goes to the caller as it came. The token stays.
    Deliver,
    /// The token is rejected, and the answer goes to the caller: the request cannot be sent again.
    Reject,
    /// The token is rejected, one for this request is obtained, and the request sent once more.
    Renew(TokenRequest),
}

/// Reads what a server says when it refuses a token, beyond that it does: a challenge for certain
/// claims, or a scheme of its own.
pub trait ChallengeHandler: fmt::Debug + Send + Sync {
    /// What to ask for instead of `request`; `None` if the challenges are not its business.
    fn answer(&self, challenges: &[Challenge], request: &TokenRequest) -> Option<TokenRequest>;
}

const _: Option<&dyn ChallengeHandler> = None;

impl BearerPolicy {
    /// Tokens for `destination`.
    pub fn new(destination: Destination) -> Self {
        Self { destination, handlers: Vec::new() }
    }

    /// Lets `handler` read the challenges of a refusal; the first that answers decides.
    pub fn with_challenge_handler(mut self, handler: Arc<dyn ChallengeHandler>) -> Self {
        self.handlers.push(handler);
        self
    }

    /// Whether a request to `url` may carry a token. Ask before one is obtained.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_wrong_authority`] or [`TokenError::is_insecure`].
    pub fn admit(&self, url: &Url) -> Result<(), TokenError> {
        self.destination.admit(url)
    }

    /// The value of the `Authorization` header (RFC 6750, section 2.1). The scheme is always `Bearer`, also for tokens
    /// from a cache or a provider that states another type.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_unsupported_type`]: a token of another type must not be used as a bearer token (RFC 6749, section
    /// 7.1).
    pub fn header(&self, token: &AccessToken) -> Result<Secret, TokenError> {
        let secret = token.secret().expose();
        if !is_bearer(token.token_type()) {
            return Err(TokenError::unsupported_type(token.token_type(), [secret]));
        }
        Ok(Secret::new(format!("Bearer {secret}")))
    }

    /// What to do with an answer of this status and these `WWW-Authenticate` headers to a request
    /// with a token for `request`.
    ///
    /// Only a 401 says anything of the token. A 403 is about what it may do, a 407 about a proxy.
    pub fn react(&self, status: u16, www_authenticate: &[&str], request: &TokenRequest, stage: Stage) -> Reaction {
        match (status, stage) {
            (401, Stage::First { replayable: false }) => Reaction::Reject,
            (401, Stage::First { replayable: true }) => {
                let challenges: Vec<_> = www_authenticate.iter().flat_map(|header| Challenge::parse(header)).collect();
                let answer = self.handlers.iter().find_map(|handler| handler.answer(&challenges, request));
                Reaction::Renew(answer.unwrap_or_else(|| request.clone()))
            }
            _ => Reaction::Deliver,
        }
    }
}

/// A key in a header of its own, which is neither obtained nor renewed.
#[derive(Clone, Debug)]
pub struct KeyPolicy {
    destination: Destination,
    header: String,
    key: Secret,
}

impl KeyPolicy {
    /// `key` in the header `header`, for `destination`.
    pub fn new(destination: Destination, header: impl Into<String>, key: Secret) -> Self {
        Self { destination, header: header.into(), key }
    }

    /// The name and the value of the header for a request to `url`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_wrong_authority`] or [`TokenError::is_insecure`].
    pub fn authorize(&self, url: &Url) -> Result<(&str, &Secret), TokenError> {
        self.destination.admit(url).map(|()| (self.header.as_str(), &self.key))
    }
}

/// A user and a password (RFC 7617).
#[derive(Clone, Debug)]
pub struct BasicPolicy {
    destination: Destination,
    header: Secret,
}

impl BasicPolicy {
    /// `user` and `password` for `destination`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`]: the user holds a colon, which would end it, or one of both a
    /// control character.
    pub fn new(destination: Destination, user: &str, password: &Secret) -> Result<Self, TokenError> {
        if user.contains(':') {
            return Err(TokenError::malformed("the user name holds a colon"));
        }
        let pair = format!("{user}:{}", password.expose());
        if pair.contains(char::is_control) {
            return Err(TokenError::malformed("the user name or the password holds a control character"));
        }
        Ok(Self { destination, header: Secret::new(format!("Basic {}", STANDARD.encode(pair))) })
    }

    /// The value of the `Authorization` header for a request to `url`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_wrong_authority`] or [`TokenError::is_insecure`].
    pub fn authorize(&self, url: &Url) -> Result<&Secret, TokenError> {
        self.destination.admit(url).map(|()| &self.header)
    }
}
