//! Responses of token endpoints (RFC 6749). Common extensions and common mistakes of providers are accepted.

use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::token::expiry::time_from_unix_seconds;
use crate::token::is_bearer;
use crate::{AccessToken, Secret, TokenError};

impl AccessToken {
    /// Reads the token from the response of a token endpoint (RFC 6749, section 5.1): `access_token` and the optional
    /// `token_type`, `scope`, `id_token`, `refresh_token` and expiry.
    ///
    /// The expiry is taken from `expires_at`, or else from `expires_in`. `expires_at` is a number of seconds since
    /// 1970, as a number or a string, or an ISO 8601 time, which is in UTC if it has no offset. `expires_in` is in
    /// seconds from `now`; negative values count as 0. Without either, the [`ExpiryPolicy`](crate::ExpiryPolicy) of a
    /// source determines the expiry.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if the access token is missing, or cannot be sent in a header;
    /// [`TokenError::is_unsupported_type`] if its type is not `Bearer`, ignoring case. A missing type means `Bearer`.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use auth_core::AccessToken;
    ///
    /// let response = serde_json::json!({ "access_token": "abc", "token_type": "Bearer", "expires_in": 3600 });
    /// let token = AccessToken::from_response(&response, SystemTime::UNIX_EPOCH)?;
    /// assert_eq!(token.expires_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3600)));
    /// # Ok::<(), auth_core::TokenError>(())
    /// ```
    pub fn from_response(response: &Value, now: SystemTime) -> Result<Self, TokenError> {
        let text_field = |name: &str| response.get(name).and_then(Value::as_str);
        let secret = text_field("access_token").ok_or(TokenError::malformed("the response has no access_token"))?;
        let mut token = Self::new(Secret::new(secret))?;
        check_type(response)?;
        if let Some(scope) = text_field("scope") {
            token = token.with_scopes(scope.split_ascii_whitespace());
        }
        // Some providers return an empty refresh token instead of none. It must not replace the previous refresh token.
        let non_empty_field = |name: &str| text_field(name).filter(|value| !value.trim().is_empty());
        if let Some(id_token) = non_empty_field("id_token") {
            token = token.with_id_token(Secret::new(id_token));
        }
        if let Some(refresh_token) = non_empty_field("refresh_token") {
            token = token.with_refresh_token(Secret::new(refresh_token));
        }
        let expiry = response.get("expires_at").and_then(parse_time).or_else(|| {
            let seconds = response.get("expires_in").and_then(lenient_seconds)?.max(0.0);
            now.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
        });
        Ok(match expiry {
            Some(expires_at) => token.with_expires_at(expires_at),
            None => token,
        })
    }
}

/// Returns an error for a type other than `Bearer`, because a client must not use a token of a type that it does not
/// understand (RFC 6749, section 7.1).
fn check_type(response: &Value) -> Result<(), TokenError> {
    match response.get("token_type") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(token_type)) if is_bearer(token_type) => Ok(()),
        Some(Value::String(token_type)) => {
            let names = ["access_token", "refresh_token", "id_token"];
            let secrets = names.into_iter().filter_map(|name| response.get(name).and_then(Value::as_str));
            Err(TokenError::unsupported_type(token_type, secrets))
        }
        Some(_) => Err(TokenError::malformed("its token_type is not a string")),
    }
}

/// Returns a number of seconds from the response of an identity provider, or `None` if `value` is not a finite number.
/// Accepts a string that contains a number, because some providers send one. The number may be negative or fractional.
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

/// Parses seconds since 1970 or an ISO 8601 time, which is in UTC if it has no offset.
fn parse_time(value: &Value) -> Option<SystemTime> {
    lenient_seconds(value).and_then(time_from_unix_seconds).or_else(|| {
        let text = value.as_str()?.trim();
        let without_offset =
            || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
        text.parse::<jiff::Timestamp>().ok().or_else(without_offset).map(SystemTime::from)
    })
}
