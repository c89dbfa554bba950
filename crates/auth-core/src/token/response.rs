//! The response of a token endpoint (RFC 6749), with common extensions and deviations.

use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::token::expiry::moment;
use crate::token::is_bearer;
use crate::{AccessToken, Secret, TokenError};

impl AccessToken {
    /// Reads the token from the response of a token endpoint (RFC 6749, section 5.1): `access_token` and the optional
    /// `token_type`, `scope`, `id_token`, `refresh_token` and expiry.
    ///
    /// The expiry is taken from `expires_at` (seconds since 1970 as a number or a string, or ISO 8601, in UTC by
    /// default), or else from `expires_in` (seconds from `now`; negative values count as 0). Without either,
    /// [`ExpiryPolicy`](crate::ExpiryPolicy) determines the lifetime.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if the access token is missing or not valid in a header;
    /// [`TokenError::is_unsupported_type`] if its type is not `Bearer`, ignoring case. A missing type means `Bearer`.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use auth_core::AccessToken;
    ///
    /// let answer = serde_json::json!({ "access_token": "abc", "token_type": "Bearer", "expires_in": 3600 });
    /// let token = AccessToken::from_response(&answer, SystemTime::UNIX_EPOCH)?;
    /// assert_eq!(token.expires_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3600)));
    /// # Ok::<(), auth_core::TokenError>(())
    /// ```
    pub fn from_response(answer: &Value, now: SystemTime) -> Result<Self, TokenError> {
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        let secret = text("access_token").ok_or(TokenError::malformed("the response has no access_token"))?;
        let mut token = Self::new(Secret::new(secret))?;
        check_type(answer)?;
        if let Some(scope) = text("scope") {
            token = token.with_scopes(scope.split_ascii_whitespace());
        }
        // Some providers return an empty refresh token instead of none. It must not replace the previous one.
        let stated = |name: &str| text(name).filter(|value| !value.trim().is_empty());
        if let Some(id_token) = stated("id_token") {
            token = token.with_id_token(Secret::new(id_token));
        }
        if let Some(refresh_token) = stated("refresh_token") {
            token = token.with_refresh_token(Secret::new(refresh_token));
        }
        let at = answer.get("expires_at").and_then(expires_at);
        let end = at.or_else(|| {
            let left = answer.get("expires_in").and_then(lenient_seconds)?.max(0.0);
            now.checked_add(Duration::try_from_secs_f64(left).ok()?)
        });
        Ok(match end {
            Some(end) => token.with_expires_at(end),
            None => token,
        })
    }
}

/// Rejects types other than `Bearer`: a client must not use a token of a type that it does not understand (RFC 6749,
/// section 7.1).
fn check_type(answer: &Value) -> Result<(), TokenError> {
    match answer.get("token_type") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(token_type)) if is_bearer(token_type) => Ok(()),
        Some(Value::String(token_type)) => {
            let secrets = ["access_token", "refresh_token", "id_token"];
            let secrets = secrets.into_iter().filter_map(|name| answer.get(name).and_then(Value::as_str));
            Err(TokenError::unsupported_type(token_type, secrets))
        }
        Some(_) => Err(TokenError::malformed("its token_type is not a string")),
    }
}

/// Returns a number of seconds from a response of an identity provider, or `None` if `value` is not a finite number.
/// Some providers send the number as a string. It may be negative or fractional.
///
/// ```
/// use auth_core::lenient_seconds;
/// use serde_json::json;
///
/// assert_eq!(lenient_seconds(&json!(3600)), lenient_seconds(&json!(" 3600.0 ")));
/// assert_eq!(lenient_seconds(&json!("soon")), None);
/// ```
pub fn lenient_seconds(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|seconds: &f64| seconds.is_finite())
}

fn expires_at(value: &Value) -> Option<SystemTime> {
    lenient_seconds(value).and_then(moment).or_else(|| {
        let text = value.as_str()?.trim();
        let naive = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
        text.parse::<jiff::Timestamp>().ok().or_else(naive).map(SystemTime::from)
    })
}
