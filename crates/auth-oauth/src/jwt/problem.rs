use crate::json::Fault;

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
    #[error("its header is not that of a signed JWT")]
    Header,
    /// A member of the header or of the claims occurs twice.
    #[error("it has a duplicate member")]
    DuplicateMember,
    /// The token requires an extension (`crit`, `b64`). No extensions are supported.
    #[error("it requires an unsupported extension")]
    Extension,
    /// The header contains a key or a reference to one (`jwk`, `jku`, `x5u`, `x5c`).
    #[error("it contains or references a key of its own")]
    ForeignKey,
    /// The `typ` is not that of an access token.
    #[error("its type is not that of an access token")]
    Type,
    /// The token is unsigned, or signed with an algorithm that the verifier does not accept.
    #[error("its signature algorithm is not accepted")]
    Algorithm,
    /// The header has no `kid`.
    #[error("it does not name its key (`kid`)")]
    NoKeyId,
    /// The issuer publishes no such key, or not for signatures of this algorithm.
    #[error("it is signed with a key that the issuer does not publish for this purpose")]
    UnknownKey,
    /// The signature does not match the named key and the content.
    #[error("its signature is invalid")]
    Signature,
    /// The claims are not a JSON object, or one of them has the wrong type.
    #[error("its claims are not those of an access token")]
    Claims,
    /// The expiry, the issuer or the audience is missing.
    #[error("it lacks one of the claims exp, iss and aud")]
    MissingClaim,
    /// The `iss` is a different issuer.
    #[error("it was issued by another issuer")]
    Issuer,
    /// The `aud` does not contain the audience.
    #[error("it is meant for another audience")]
    Audience,
    /// The `org_id` is not the expected organization.
    #[error("it is for another organization")]
    Organization,
    /// The token has claims that only an ID token has.
    #[error("it is an id token and not an access token")]
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
    /// Returns the problem of invalid JSON: `DuplicateMember` for a duplicate member, else `otherwise`.
    pub(super) fn in_json(fault: &Fault, otherwise: Self) -> Self {
        match fault {
            Fault::Duplicate(_) => Self::DuplicateMember,
            Fault::Malformed => otherwise,
        }
    }
}
