//! Failures of calls.

use std::error;
use std::fmt;
use std::sync::Arc;

use auth_core::TokenError;
use auth_http::retry::RetriesExhausted;
use platform_api::ApiError;

use super::{Error, Kind};

/// The failure of a call. All waiting callers share it.
#[derive(Clone, Debug)]
pub(crate) enum CallError {
    Api(Arc<ApiError>),
    /// A failure, and the reason why the call was no longer retried.
    RetriesExhausted(Arc<ApiError>, RetriesExhausted),
    /// The failure to obtain a token, and the reason why the attempt was no longer retried.
    Token(TokenError, Option<RetriesExhausted>),
    /// No token was obtained before the deadline.
    TimedOut,
}

impl CallError {
    pub(crate) fn token(error: TokenError, exhausted: Option<RetriesExhausted>) -> Self {
        Self::Token(error, exhausted)
    }

    pub(crate) fn retries_exhausted(error: ApiError, exhausted: RetriesExhausted) -> Self {
        Self::RetriesExhausted(Arc::new(error.with_exhaustion_reason(exhausted.to_string())), exhausted)
    }
}

impl From<ApiError> for CallError {
    fn from(error: ApiError) -> Self {
        Self::Api(Arc::new(error))
    }
}

/// The error of a failed call, and the reason why the call was no longer retried. Its message and its source are those
/// of the error.
#[derive(Debug)]
pub(super) struct CallFailure {
    pub(super) error: Arc<ApiError>,
    pub(super) exhausted: Option<RetriesExhausted>,
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
            CallError::Api(error) => Kind::Api(CallFailure { error, exhausted: None }),
            CallError::RetriesExhausted(error, exhausted) => {
                Kind::Api(CallFailure { error, exhausted: Some(exhausted) })
            }
            CallError::Token(error, exhausted) => Kind::Token(error, exhausted),
            CallError::TimedOut => Kind::TimedOut,
        }
        .into()
    }
}

impl Error {
    /// Converts an error of a call, or of obtaining its token, to a failure that callers can share.
    pub(crate) fn into_call(self) -> CallError {
        match self.0 {
            Kind::Api(CallFailure { error, exhausted: None }) => CallError::Api(error),
            Kind::Api(CallFailure { error, exhausted: Some(exhausted) }) => {
                CallError::RetriesExhausted(error, exhausted)
            }
            Kind::Token(error, exhausted) => CallError::Token(error, exhausted),
            _ => CallError::TimedOut,
        }
    }

    /// Returns the reason why the call was no longer retried.
    #[cfg(feature = "download")]
    pub(crate) fn retries_exhausted(&self) -> Option<&RetriesExhausted> {
        match &self.0 {
            Kind::Api(CallFailure { exhausted, .. }) | Kind::Token(_, exhausted) => exhausted.as_ref(),
            _ => None,
        }
    }

    /// Adds the reason why the call was no longer retried.
    pub(crate) fn with_exhaustion_reason(self, exhausted: RetriesExhausted) -> Self {
        match self.into_call() {
            CallError::Api(error) => match Arc::try_unwrap(error) {
                Ok(error) => CallError::retries_exhausted(error, exhausted),
                Err(error) => CallError::RetriesExhausted(error, exhausted),
            },
            other => other,
        }
        .into()
    }
}
