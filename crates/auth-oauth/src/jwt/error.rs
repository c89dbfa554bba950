use std::sync::Arc;
use std::time::Duration;

use auth_http::HttpError;
use auth_http::retry::is_transient_status;

use super::JwtAlgorithm;
use super::refusal::Refusal;
use crate::json::Fault;

/// The reason why a token does not verify. It never shows the token.
///
/// Exactly one of three predicates is true:
///
/// | predicate | meaning | what to do |
/// |---|---|---|
/// | [`is_unavailable`](Self::is_unavailable) | the keys of the issuer are missing; the token was not judged | retry later |
/// | [`is_clock`](Self::is_clock) | only the times of the token do not fit the clock | get a new token, or check the clock |
/// | [`is_definitive`](Self::is_definitive) | the token is wrong at any time | discard the token |
///
/// It is `Clone`, because all callers that wait for one fetch of keys share its failure.
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

/// The check that a token did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JwtProblem {
    /// It is longer than 16 KiB, and was not looked at.
    #[error("it is larger than 16 KiB")]
    TooLarge,
    /// It is not three parts in base64url (RFC 7515, section 7.1).
    #[error("it is no well-formed JWT")]
    Malformed,
    /// Its header is no JSON object with the text `alg`, or `kid` is no text.
    #[error("its header is not that of a signed JWT")]
    Header,
    /// A member of its header or of its claims is stated twice.
    #[error("it states a member twice")]
    DuplicateMember,
    /// It needs an extension (`crit`, `b64`), and none is understood.
    #[error("it needs an extension that is not understood")]
    Extension,
    /// It brings a key of its own, or says where to get one (`jwk`, `jku`, `x5u`, `x5c`).
    #[error("it brings or names a key from elsewhere")]
    ForeignKey,
    /// Its `typ` is that of something else.
    #[error("it is of another type than an access token")]
    Type,
    /// It is signed with an algorithm that the verifier was not set up with, or not at all.
    #[error("it is not signed with an algorithm that is accepted")]
    Algorithm,
    /// It has no `kid`.
    #[error("it does not name its key (`kid`)")]
    NoKeyId,
    /// The issuer has no such key, or not for signatures of this algorithm.
    #[error("it is signed with a key that the issuer does not publish for that")]
    UnknownKey,
    /// It was not signed with the key that it names, or changed since.
    #[error("its signature does not fit")]
    Signature,
    /// Its claims are no JSON object, or one of them is not of its kind.
    #[error("its claims are not those of an access token")]
    Claims,
    /// It does not state its end, its issuer or its audience.
    #[error("it lacks one of the claims exp, iss and aud")]
    MissingClaim,
    /// Its `iss` is another.
    #[error("another issuer made it")]
    Issuer,
    /// Its `aud` does not contain the audience.
    #[error("it is meant for another audience")]
    Audience,
    /// It has claims that only an id token has.
    #[error("it is an id token and not an access token")]
    IdToken,
    /// Its `exp` has passed.
    #[error("it has expired")]
    Expired,
    /// Its `nbf` is yet to come.
    #[error("it is not valid yet")]
    NotYetValid,
    /// Its `iat` is yet to come.
    #[error("it says that it was issued in the future")]
    IssuedInFuture,
}

impl JwtProblem {
    /// What is wrong with JSON that was to be read; `otherwise` if no member is stated twice.
    pub(super) fn in_json(fault: &Fault, otherwise: Self) -> Self {
        match fault {
            Fault::Duplicate(_) => Self::DuplicateMember,
            Fault::Malformed => otherwise,
        }
    }
}

impl JwtError {
    pub(super) fn algorithm(accepted: &[JwtAlgorithm]) -> Self {
        let names: Vec<_> = accepted.iter().map(|algorithm| algorithm.name()).collect();
        Kind::Algorithm(names.join(" or ")).into()
    }

    /// Returns true if the keys of the issuer cannot be fetched: network failure, error status, invalid JWK set,
    /// or deadline exceeded. This does not judge the token.
    ///
    /// [`is_transient`](Self::is_transient), [`is_outdated`](Self::is_outdated) and
    /// [`is_unusable_key_set`](Self::is_unusable_key_set) give details.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.0, Kind::Keys(_))
    }

    /// Returns true if only a time of the token (`exp`, `nbf` or `iat`) does not fit the clock. Its signature, issuer
    /// and audience are right.
    ///
    /// Either the token is used too late or too early, or the clock is wrong: see [`claim`](Self::claim) and
    /// [`off_by`](Self::off_by), and [`JwtVerifier::verify_as_of`](crate::JwtVerifier::verify_as_of) for another clock.
    pub fn is_clock(&self) -> bool {
        self.off_by().is_some()
    }

    /// Returns true if the token can never verify: wrong signature, issuer, audience, algorithm or form, or a key that
    /// the issuer does not publish.
    pub fn is_definitive(&self) -> bool {
        !self.is_unavailable() && !self.is_clock()
    }

    /// Returns true if the token was refused: [`is_definitive`](Self::is_definitive) or [`is_clock`](Self::is_clock).
    pub fn is_invalid(&self) -> bool {
        !self.is_unavailable()
    }

    /// The check that the token failed; `None` if [`is_unavailable`](Self::is_unavailable).
    pub fn problem(&self) -> Option<JwtProblem> {
        match &self.0 {
            Kind::Invalid(refusal) => Some(refusal.problem),
            Kind::Algorithm(_) => Some(JwtProblem::Algorithm),
            Kind::Keys(_) => None,
        }
    }

    /// The name of the claim that is missing or wrong, such as `aud`; `None` if another part of the token is wrong.
    pub fn claim(&self) -> Option<&str> {
        self.refusal()?.claim
    }

    /// The difference between the clock and the claim, leeway included; `None` unless [`is_clock`](Self::is_clock).
    ///
    /// `exp` is this far behind the clock; `nbf` and `iat` are this far ahead of it.
    pub fn off_by(&self) -> Option<Duration> {
        self.refusal()?.off_by
    }

    fn refusal(&self) -> Option<&Refusal> {
        if let Kind::Invalid(refusal) = &self.0 { Some(refusal) } else { None }
    }

    /// Returns true if the keys are unavailable and a retry may succeed.
    pub fn is_transient(&self) -> bool {
        let Kind::Keys(error) = &self.0 else { return false };
        match error.cause() {
            KeyError::Http(source) => source.is_transient(),
            KeyError::Status { status, .. } => is_transient_status(*status),
            KeyError::Deadline(_) | KeyError::Aborted => true,
            KeyError::Unusable(_) | KeyError::Outdated(_) => false,
        }
    }

    /// Returns the pause that the issuer asked for when its keys were fetched (`Retry-After`).
    pub fn retry_after(&self) -> Option<Duration> {
        let Kind::Keys(error) = &self.0 else { return None };
        if let KeyError::Status { retry_after, .. } = error.cause() { *retry_after } else { None }
    }

    /// Returns true if the keys are unavailable because the issuer publishes an invalid JWK set.
    pub fn is_unusable_key_set(&self) -> bool {
        matches!(&self.0, Kind::Keys(error) if matches!(error.cause(), KeyError::Unusable(_)))
    }

    /// Returns true if the keys are unavailable because the cached ones expired more than a day ago.
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
    #[error("the keys of the issuer could not be fetched")]
    Http(#[source] Arc<HttpError>),
    #[error("the keys of the issuer could not be fetched: it answered {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    #[error("the keys of the issuer could not be fetched within {} s", .0.as_secs())]
    Deadline(Duration),
    #[error("the keys of the issuer could not be fetched, because the runtime of the fetch ended")]
    Aborted,
    #[error("the keys of the issuer are no JWK set that can be used: {0}")]
    Unusable(&'static str),
    #[error("the cached keys of the issuer are outdated and could not be replaced")]
    Outdated(#[source] Box<KeyError>),
}

impl KeyError {
    /// The failure of the fetch.
    fn cause(&self) -> &Self {
        if let Self::Outdated(cause) = self { cause } else { self }
    }
}
