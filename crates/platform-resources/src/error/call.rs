//! The failures of calls.

use std::error;
use std::fmt;
use std::sync::Arc;

use auth_core::TokenError;
use auth_http::retry::GaveUp;
use platform_api::ApiError;

use super::{Error, Kind};

/// The failure of a call, shared by all waiting callers.
#[derive(Clone, Debug)]
pub(crate) enum CallError {
    Api(Arc<ApiError>),
    /// A failure with the reason why it was not retried.
    GaveUp(Arc<ApiError>, GaveUp),
    /// The token could not be obtained, with the reason why this was not retried.
    Token(TokenError, Option<GaveUp>),
    /// The token was not obtained in time.
    TimedOut,
}

impl CallError {
    pub(crate) fn token(error: TokenError, gave_up: Option<GaveUp>) -> Self {
        Self::Token(error, gave_up)
    }

    pub(crate) fn gave_up(error: ApiError, gave_up: GaveUp) -> Self {
        Self::GaveUp(Arc::new(error.with_reason_to_give_up(gave_up.to_string())), gave_up)
    }
}

impl From<ApiError> for CallError {
    fn from(error: ApiError) -> Self {
        Self::Api(Arc::new(error))
    }
}

/// A failed call, and the reason why it was not retried. It has the message and the causes of the failure.
#[derive(Debug)]
pub(super) struct CallFailure {
    pub(super) error: Arc<ApiError>,
    pub(super) gave_up: Option<GaveUp>,
}

impl fmt::Display for CallFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl error::Error for CallFailure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.error.source()
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Api(error) => Kind::Api(CallFailure { error, gave_up: None }),
            CallError::GaveUp(error, gave_up) => Kind::Api(CallFailure { error, gave_up: Some(gave_up) }),
            CallError::Token(error, gave_up) => Kind::Token(error, gave_up),
            CallError::TimedOut => Kind::TimedOut,
        }
        .into()
    }
}

impl Error {
    /// Returns the failure of a call that needs a token, for all waiting callers.
    pub(crate) fn into_call(self) -> CallError {
        match self.0 {
            Kind::Api(CallFailure { error, gave_up: None }) => CallError::Api(error),
            Kind::Api(CallFailure { error, gave_up: Some(gave_up) }) => CallError::GaveUp(error, gave_up),
            Kind::Token(error, gave_up) => CallError::Token(error, gave_up),
            _ => CallError::TimedOut,
        }
    }

    /// Returns the reason why the call was not retried, or no longer.
    #[cfg(feature = "download")]
    pub(crate) fn gave_up(&self) -> Option<&GaveUp> {
        match &self.0 {
            Kind::Api(CallFailure { gave_up, .. }) | Kind::Token(_, gave_up) => gave_up.as_ref(),
            _ => None,
        }
    }

    /// Adds the reason why a call was not repeated, or no longer.
    pub(crate) fn with_reason_to_give_up(self, gave_up: GaveUp) -> Self {
        match self.into_call() {
            CallError::Api(error) => match Arc::try_unwrap(error) {
                Ok(error) => CallError::gave_up(error, gave_up),
                Err(error) => CallError::GaveUp(error, gave_up),
            },
            other => other,
        }
        .into()
    }
}
