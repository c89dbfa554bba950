//! The answer of a token endpoint, as RFC 6749 and those who extend it spell it.

use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::expiry::moment;
use crate::{AccessToken, Secret, TokenError};

impl AccessToken {
    /// The token in the answer of a token endpoint (RFC 6749, section 5.1): `access_token`, and as
    /// far as they are there `token_type`, `scope`, `id_token`, `refresh_token` and its end.
    ///
    /// The end is taken from `expires_at` (seconds since 1970 as a number or a text, or ISO 8601,
    /// in UTC unless it says otherwise), or else from `expires_in` (seconds from `now`). Neither:
    /// see [`ExpiryPolicy`](crate::ExpiryPolicy).
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if there is no access token, or none that a header can carry.
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
        let secret = text("access_token").ok_or(TokenError::malformed("the answer has no access_token"))?;
        let mut token = Self::new(Secret::new(secret))?;
        if let Some(token_type) = text("token_type").filter(|token_type| !token_type.eq_ignore_ascii_case("bearer")) {
            token = token.with_token_type(token_type);
        }
        if let Some(scope) = text("scope") {
            token = token.with_scopes(scope.split_ascii_whitespace());
        }
        if let Some(id_token) = text("id_token") {
            token = token.with_id_token(Secret::new(id_token));
        }
        if let Some(refresh_token) = text("refresh_token") {
            token = token.with_refresh_token(Secret::new(refresh_token));
        }
        let at = answer.get("expires_at").and_then(expires_at);
        let end = at.or_else(|| {
            now.checked_add(answer.get("expires_in").and_then(seconds).map(Duration::try_from_secs_f64)?.ok()?)
        });
        Ok(match end {
            Some(end) => token.with_expires_at(end),
            None => token,
        })
    }
}

/// A number, or a text that is one.
fn seconds(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|seconds: &f64| seconds.is_finite())
}

fn expires_at(value: &Value) -> Option<SystemTime> {
    seconds(value).and_then(moment).or_else(|| {
        let text = value.as_str()?.trim();
        let naive = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
        text.parse::<jiff::Timestamp>().ok().or_else(naive).map(SystemTime::from)
    })
}
