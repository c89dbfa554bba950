use std::sync::Arc;
use std::time::Duration;

use auth_http::HttpError;
use auth_http::retry::is_transient_status;

use super::algorithm::JwtAlgorithm;
use super::problem::JwtProblem;
use super::refusal::Refusal;

/// The reason why a token was not accepted. It never contains the token.
///
/// Exactly one of three predicates returns true:
///
/// | predicate | meaning | what to do |
/// |---|---|---|
/// | [`is_unavailable`](Self::is_unavailable) | the keys of the issuer are unavailable; the token was not verified | retry later |
/// | [`is_clock`](Self::is_clock) | the token is valid except for its times | obtain a new token, or check the clock |
/// | [`is_definitive`](Self::is_definitive) | the token is never valid | discard the token |
///
/// The error is `Clone`, because all callers that wait for the same fetch of keys receive its error.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct JwtError(#[from] Kind);

#[derive(Clone, Debug, thiserror::Error)]
enum Kind {
    #[error("the token was refused: {0}")]
    Invalid(Refusal),
    #[error("the token was refused: it is not signed with {0}")]
    Algorithm(String),
    #[error(transparent)]
    Keys(KeyError),
}

impl JwtError {
    pub(super) fn unaccepted_algorithm(accepted: &[JwtAlgorithm]) -> Self {
        let names: Vec<_> = accepted.iter().map(|algorithm| algorithm.name()).collect();
        Kind::Algorithm(names.join(" or ")).into()
    }

    /// Returns true if the keys of the issuer cannot be fetched because of a network failure, an error status, an
    /// invalid JWK set, or a timeout. The token was not verified.
    ///
    /// [`is_transient`](Self::is_transient), [`is_outdated`](Self::is_outdated) and
    /// [`is_unusable_key_set`](Self::is_unusable_key_set) give details.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.0, Kind::Keys(_))
    }

    /// Returns true if only a time of the token (`exp`, `nbf` or `iat`) does not match the clock. Its signature, issuer
    /// and audience are valid.
    ///
    /// Either the token has expired or is not valid yet, or the clock is wrong. [`claim`](Self::claim) and
    /// [`clock_difference`](Self::clock_difference) give details.
    /// [`JwtVerifier::verify_as_of`](crate::JwtVerifier::verify_as_of) verifies with another clock.
    pub fn is_clock(&self) -> bool {
        self.clock_difference().is_some()
    }

    /// Returns true if the token can never be valid, because its signature, issuer, audience, algorithm or format is
    /// wrong, or because the issuer does not publish its key.
    pub fn is_definitive(&self) -> bool {
        !self.is_unavailable() && !self.is_clock()
    }

    /// Returns true if the token was refused: [`is_definitive`](Self::is_definitive) or [`is_clock`](Self::is_clock).
    pub fn is_invalid(&self) -> bool {
        !self.is_unavailable()
    }

    /// Returns the check that the token failed, or `None` if it was not verified
    /// ([`is_unavailable`](Self::is_unavailable)).
    pub fn problem(&self) -> Option<JwtProblem> {
        match &self.0 {
            Kind::Invalid(refusal) => Some(refusal.problem),
            Kind::Algorithm(_) => Some(JwtProblem::UnacceptedAlgorithm),
            Kind::Keys(_) => None,
        }
    }

    /// Returns the name of the missing or invalid claim, such as `aud`, or `None` if another part of the token is
    /// invalid.
    pub fn claim(&self) -> Option<&str> {
        self.refusal()?.claim
    }

    /// Returns the difference between the clock and the time in the claim, or `None` unless
    /// [`is_clock`](Self::is_clock) returns true. The leeway is not subtracted.
    ///
    /// `exp` is earlier than the clock by this duration. `nbf` and `iat` are later.
    pub fn clock_difference(&self) -> Option<Duration> {
        self.refusal()?.clock_difference
    }

    fn refusal(&self) -> Option<&Refusal> {
        if let Kind::Invalid(refusal) = &self.0 { Some(refusal) } else { None }
    }

    /// Returns true if the keys are unavailable and a retry may succeed.
    pub fn is_transient(&self) -> bool {
        let Kind::Keys(error) = &self.0 else { return false };
        match error.fetch_error() {
            KeyError::Http(source) => source.is_transient(),
            KeyError::Status { status, .. } => is_transient_status(*status),
            KeyError::Deadline(_) | KeyError::Aborted => true,
            KeyError::Unusable(_) | KeyError::Outdated(_) => false,
        }
    }

    /// Returns the delay that the issuer requested when its keys were fetched (`Retry-After`).
    pub fn retry_after(&self) -> Option<Duration> {
        let Kind::Keys(error) = &self.0 else { return None };
        if let KeyError::Status { retry_after, .. } = error.fetch_error() { *retry_after } else { None }
    }

    /// Returns true if the keys are unavailable because the issuer publishes an invalid JWK set.
    pub fn is_unusable_key_set(&self) -> bool {
        matches!(&self.0, Kind::Keys(error) if matches!(error.fetch_error(), KeyError::Unusable(_)))
    }

    /// Returns true if the keys are unavailable, and the cached keys expired more than a day ago.
    pub fn is_outdated(&self) -> bool {
        matches!(&self.0, Kind::Keys(KeyError::Outdated(_)))
    }
}

impl From<JwtProblem> for JwtError {
    fn from(problem: JwtProblem) -> Self {
        Refusal::from(problem).into()
    }
}

impl From<Refusal> for JwtError {
    fn from(refusal: Refusal) -> Self {
        Kind::Invalid(refusal).into()
    }
}

impl From<KeyError> for JwtError {
    fn from(error: KeyError) -> Self {
        Kind::Keys(error).into()
    }
}

/// The reason why the keys are unavailable.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error("cannot fetch the keys of the issuer")]
    Http(#[source] Arc<HttpError>),
    #[error("cannot fetch the keys of the issuer: it responded with {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    #[error("cannot fetch the keys of the issuer within {} s", .0.as_secs())]
    Deadline(Duration),
    #[error("cannot fetch the keys of the issuer, because the runtime that fetched them was shut down")]
    Aborted,
    #[error("the keys of the issuer are not a usable JWK set: {0}")]
    Unusable(&'static str),
    #[error("the cached keys of the issuer are outdated and could not be replaced")]
    Outdated(#[source] Box<KeyError>),
}

impl KeyError {
    /// Returns the error of the failed fetch.
    fn fetch_error(&self) -> &Self {
        if let Self::Outdated(error) = self { error } else { self }
    }
}
