//! Checks of tokens from outside of the process. The checks do not verify the signature, because the server that
//! receives the token verifies it.

use std::time::SystemTime;

use auth_core::{AccessToken, Secret};
use sha2::{Digest, Sha256};

use super::error::{CredentialError, Origin};
use crate::exchange::sanitized;
use crate::identity::identity_claims;

/// The maximum size of a token, in bytes. Most servers refuse a request with a longer header.
pub(super) const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Returns a text that identifies the principal of a token. For a JWT, it consists of claims that all tokens of the
/// principal share. For another token, it is the digest of the token.
pub(super) fn principal(token: &Secret) -> String {
    identity_claims(token).principal().unwrap_or_else(|| digest([token.expose()]))
}

/// Returns the SHA-256 of several texts in hexadecimal. Each text is hashed after its length, so that different lists
/// of texts have different digests.
pub(super) fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hex::encode(hash.finalize())
}

/// Parses a token. It is an error if the text is not a token, or if the token has expired or is for another audience
/// than `audience`.
pub(super) fn token_from_text(
    origin: &Origin,
    text: &str,
    now: SystemTime,
    audience: Option<&str>,
) -> Result<AccessToken, CredentialError> {
    let text = text.trim();
    if text.starts_with('<') {
        return Err(origin.unusable("it is HTML, not a token", "check that it is not the page of a proxy or a login"));
    }
    let token = AccessToken::new(Secret::new(text))
        .map_err(|error| origin.unusable(error.to_string(), "it must contain only one token"))?;
    check_expiry_and_audience(origin, &token, now, audience)?;
    Ok(token)
}

/// Checks the expiry and the audience of a token, if they are known.
pub(super) fn check_expiry_and_audience(
    origin: &Origin,
    token: &AccessToken,
    now: SystemTime,
    audience: Option<&str>,
) -> Result<(), CredentialError> {
    let expiry = [token.expires_at(), token.jwt_expiry()].into_iter().flatten().min();
    if let Some(expiry) = expiry.filter(|expiry| *expiry <= now) {
        let reason = format!("the token expired at {}", rfc3339(expiry));
        return Err(origin.refused(reason, "provide a new token, or check the clock of this machine"));
    }
    let claims = identity_claims(token.secret());
    let audiences = claims.audiences();
    if let Some(expected) = audience
        && !audiences.is_empty()
        && !audiences.contains(&expected)
    {
        let audiences = audiences.iter().map(|audience| sanitized(audience)).collect::<Vec<_>>().join(", ");
        let reason = format!("the token is for the audience '{audiences}', not '{expected}'");
        return Err(origin.refused(reason, "request a token for the expected audience"));
    }
    Ok(())
}

/// Formats a time (RFC 3339).
pub(super) fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since_epoch| since_epoch.as_secs());
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| format!("{seconds} s after 1970"), |timestamp| timestamp.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// Returns a JWT with these claims and without a valid signature.
    pub(in crate::external) fn jwt(claims: &serde_json::Value) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        format!("{header}.{}.c2lnbmVk", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn error_of_an_expired_token_contains_its_expiry() {
        let (origin, token) = (Origin::new("variable", "X"), jwt(&serde_json::json!({ "exp": 1000 })));
        token_from_text(&origin, &token, at(999), None).unwrap();
        let error = token_from_text(&origin, &token, at(1000), None).unwrap_err();
        assert!(error.is_refused());
        assert_eq!(
            error.to_string(),
            "variable 'X': the token expired at 1970-01-01T00:16:40Z; provide a new token, or check the clock of this \
             machine"
        );
    }

    #[test]
    fn jwt_for_another_audience_is_an_error() {
        let origin = Origin::new("variable", "X");
        let token = |audience: serde_json::Value| jwt(&serde_json::json!({ "aud": audience }));
        for audience in [serde_json::json!("a"), serde_json::json!(["b", "a"])] {
            token_from_text(&origin, &token(audience), at(0), Some("a")).unwrap();
        }
        let error =
            token_from_text(&origin, &token(serde_json::json!(["b", "c\u{1b}"])), at(0), Some("a")).unwrap_err();
        assert!(error.is_refused() && error.to_string().contains("audience 'b, c', not 'a'"), "{error}");
        token_from_text(&origin, "opaque", at(0), Some("a")).unwrap();
        token_from_text(&origin, &jwt(&serde_json::json!({})), at(0), Some("a")).unwrap();
    }

    #[test]
    fn error_does_not_show_a_text_that_is_not_a_token() {
        let origin = Origin::new("variable", "X");
        for text in ["<html>canary</html>", "canary canary", "canary\ncanary", "", "ca\u{7}nary"] {
            let error = token_from_text(&origin, text, at(0), None).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("nary") && !error.is_refused(), "{error:?}");
        }
        assert_eq!(token_from_text(&origin, " Bearer a \n", at(0), None).unwrap().secret().expose(), "a");
    }

    #[test]
    fn jwts_with_different_expiry_have_the_same_principal() {
        let principal_of = |claims: serde_json::Value| principal(&Secret::new(jwt(&claims)));
        let first = principal_of(serde_json::json!({ "iss": "i", "sub": "s", "exp": 1 }));
        assert_eq!(first, principal_of(serde_json::json!({ "iss": "i", "sub": "s", "exp": 2 })));
        assert_ne!(first, principal_of(serde_json::json!({ "iss": "i", "sub": "t", "exp": 1 })));
        assert_ne!(first, principal_of(serde_json::json!({ "iss": "i", "sub": "s", "azp": "c" })));
        assert_ne!(principal(&Secret::new("one")), principal(&Secret::new("two")));
        assert!(!principal(&Secret::new("canary")).contains("canary"));
    }
}
