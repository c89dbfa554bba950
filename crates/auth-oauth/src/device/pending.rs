//! The response of the device authorization endpoint (RFC 8628, section 3.2).

use std::time::{Duration, SystemTime};

use auth_core::{Secret, lenient_seconds};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

use super::DeviceAuthorization;
use crate::OAuthError;
use crate::exchange::FormResponse;

/// The maximum lifetime of a code: one year. It prevents an overflow of the expiry time.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A device login that awaits the approval of the user.
pub(super) struct PendingLogin {
    pub(super) device_code: Secret,
    pub(super) interval: Option<Duration>,
    pub(super) authorization: DeviceAuthorization,
}

#[derive(serde::Deserialize)]
struct DeviceResponse {
    device_code: String,
    user_code: String,
    verification_uri: Option<String>,
    /// The name of `verification_uri` in older drafts. Some providers send both members.
    verification_url: Option<String>,
    verification_uri_complete: Option<String>,
    #[serde(deserialize_with = "deserialize_seconds")]
    expires_in: f64,
    interval: Option<Value>,
}

impl PendingLogin {
    /// Parses the response. `now` is the time at which it was received.
    pub(super) fn parse(response: &FormResponse, now: SystemTime) -> Result<Self, OAuthError> {
        let fields: DeviceResponse = response.deserialize()?;
        if fields.expires_in <= 0.0 {
            return Err(OAuthError::expired());
        }
        let verification_url = fields.verification_uri.or(fields.verification_url);
        let lifetime =
            Duration::try_from_secs_f64(fields.expires_in).map_or(MAX_LIFETIME, |time| time.min(MAX_LIFETIME));
        // An invalid interval is treated as a missing one.
        let interval = fields.interval.as_ref().and_then(lenient_seconds).filter(|seconds| *seconds >= 0.0);
        let authorization = DeviceAuthorization {
            verification_url: verification_url
                .ok_or_else(|| OAuthError::malformed("it contains no `verification_uri`"))?,
            verification_url_complete: fields.verification_uri_complete,
            user_code: fields.user_code,
            expires_at: now.checked_add(lifetime).unwrap_or(now),
        };
        let interval = interval.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        Ok(Self { device_code: Secret::new(fields.device_code), interval, authorization })
    }
}

fn deserialize_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    lenient_seconds(&Value::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("it is not a number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn parse(changes: &Value) -> Result<PendingLogin, OAuthError> {
        let mut response = json!({
            "device_code": "canary", "user_code": "ABCD", "verification_uri": "https://login.test/", "expires_in": 600,
        });
        for (name, value) in changes.as_object().unwrap() {
            response[name] = value.clone();
        }
        PendingLogin::parse(&FormResponse::new(200, None, &response.to_string()), NOW)
    }

    #[test]
    fn numbers_may_be_strings_or_fractional() {
        let seconds = Duration::from_secs;
        for (changes, lifetime, interval) in [
            (json!({}), seconds(600), None),
            (json!({ "expires_in": "900", "interval": "7" }), seconds(900), Some(seconds(7))),
            (json!({ "expires_in": 900.0, "interval": 2.5 }), seconds(900), Some(Duration::from_millis(2500))),
            (json!({ "expires_in": " 900.0 ", "interval": "0" }), seconds(900), Some(Duration::ZERO)),
            (json!({ "interval": null }), seconds(600), None),
            (json!({ "interval": "soon" }), seconds(600), None),
            (json!({ "interval": -1 }), seconds(600), None),
            (json!({ "expires_in": 1e300, "interval": 1e300 }), MAX_LIFETIME, Some(Duration::MAX)),
        ] {
            let login = parse(&changes).unwrap();
            let expires_at = login.authorization.expires_at;
            assert_eq!((expires_at, login.interval), (NOW + lifetime, interval), "{changes}");
        }
    }

    #[test]
    fn lifetime_of_zero_or_less_is_an_expired_login() {
        for expires_in in [json!(0), json!(-1), json!("0"), json!("-5"), json!(-0.5)] {
            let error = parse(&json!({ "expires_in": expires_in })).err().unwrap();
            assert!(error.is_expired(), "{expires_in}: {error:?}");
        }
    }

    #[test]
    fn error_names_the_invalid_member_without_secrets() {
        for (changes, expected) in [
            (json!({ "expires_in": "soon" }), "`expires_in`"),
            (json!({ "expires_in": null }), "`expires_in`"),
            (json!({ "device_code": ["canary"] }), "`device_code`"),
            (json!({ "verification_uri": null }), "`verification_uri`"),
            (json!({ "error": "unauthorized_client" }), "unauthorized_client"),
        ] {
            let error_text = parse(&changes).err().map(|error| format!("{error} {error:?}")).unwrap();
            assert!(error_text.contains(expected) && !error_text.contains("canary"), "{error_text}");
        }
        let with_both_names = parse(&json!({ "verification_url": "https://old.test/" })).unwrap();
        assert_eq!(with_both_names.authorization.verification_url, "https://login.test/");
        let with_old_name =
            parse(&json!({ "verification_uri": null, "verification_url": "https://old.test/" })).unwrap();
        assert_eq!(with_old_name.authorization.verification_url, "https://old.test/");
    }
}
