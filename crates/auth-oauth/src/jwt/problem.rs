use crate::json::ObjectError;

/// The check that a token failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JwtProblem {
    /// The token is longer than 16 KiB, and was not parsed.
    #[error("it is larger than 16 KiB")]
    TooLarge,
    /// The token does not consist of three parts in base64url (RFC 7515, section 7.1).
    #[error("it is not a well-formed JWT")]
    Malformed,
    /// The header is not a JSON object with a string `alg`, or its `kid` is not a string.
    #[error("its header is not valid for a signed JWT")]
    InvalidHeader,
    /// A member of the header or of the claims occurs twice.
    #[error("it has a duplicate member")]
    DuplicateMember,
    /// The token requires an extension (`crit`, `b64`). No extensions are supported.
    #[error("it requires an unsupported extension")]
    UnsupportedExtension,
    /// The header contains a key or a reference to one (`jwk`, `jku`, `x5u`, `x5c`).
    #[error("its header contains or references a key")]
    EmbeddedKey,
    /// The `typ` is not the type of an access token.
    #[error("its type is not the type of an access token")]
    WrongType,
    /// The token is unsigned, or signed with an algorithm that the verifier does not accept.
    #[error("its signature algorithm is not accepted")]
    UnacceptedAlgorithm,
    /// The header has no `kid`.
    #[error("it does not name its key (`kid`)")]
    MissingKeyId,
    /// The issuer does not publish the key, or not for this algorithm.
    #[error("it is signed with a key that the issuer does not publish for this purpose")]
    UnknownKey,
    /// The signature does not match the content and the key.
    #[error("its signature is invalid")]
    InvalidSignature,
    /// The claims are not a JSON object, or one of them has the wrong type.
    #[error("its claims are not valid for an access token")]
    InvalidClaims,
    /// The expiry, the issuer or the audience is missing.
    #[error("it lacks one of the claims exp, iss and aud")]
    MissingClaim,
    /// The `iss` is not the expected issuer.
    #[error("it was issued by another issuer")]
    WrongIssuer,
    /// The `aud` does not contain the expected audience.
    #[error("it is meant for another audience")]
    WrongAudience,
    /// The `org_id` is not the expected organization.
    #[error("it is for another organization")]
    WrongOrganization,
    /// The token has claims that only an ID token has.
    #[error("it is an ID token and not an access token")]
    IdToken,
    /// The `exp` is in the past.
    #[error("it has expired")]
    Expired,
    /// The `nbf` is in the future.
    #[error("it is not valid yet")]
    NotYetValid,
    /// The `iat` is in the future.
    #[error("its issue time is in the future")]
    IssuedInFuture,
}

impl JwtProblem {
    /// Converts a JSON error. Returns `DuplicateMember` if a member occurs twice, and `otherwise` in other cases.
    pub(super) fn from_json_error(error: &ObjectError, otherwise: Self) -> Self {
        match error {
            ObjectError::Duplicate(_) => Self::DuplicateMember,
            ObjectError::Malformed => otherwise,
        }
    }
}
