//! The response of the device authorization endpoint (RFC 8628, section 3.2).

use std::time::{Duration, SystemTime};

use auth_core::{Secret, lenient_seconds};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

use super::DeviceAuthorization;
use crate::OAuthError;
use crate::exchange::Answer;

/// The maximum lifetime of a code. It prevents an overflow of the expiry time.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A device login that awaits the approval of the user.
pub(super) struct Started {
    pub(super) device_code: Secret,
    pub(super) interval: Option<Duration>,
    pub(super) authorization: DeviceAuthorization,
}

#[derive(serde::Deserialize)]
struct Fields {
    device_code: String,
    user_code: String,
    verification_uri: Option<String>,
    /// The name in older drafts. Some providers send both.
    verification_url: Option<String>,
    verification_uri_complete: Option<String>,
    #[serde(deserialize_with = "seconds")]
    expires_in: f64,
    interval: Option<Value>,
}

impl Started {
    pub(super) fn read(answer: &Answer, now: SystemTime) -> Result<Self, OAuthError> {
        let fields: Fields = answer.read()?;
        if fields.expires_in <= 0.0 {
            return Err(OAuthError::expired());
        }
        let page = fields.verification_uri.or(fields.verification_url);
        let lifetime =
            Duration::try_from_secs_f64(fields.expires_in).map_or(MAX_LIFETIME, |time| time.min(MAX_LIFETIME));
        // An invalid interval is treated as absent.
        let interval = fields.interval.as_ref().and_then(lenient_seconds).filter(|seconds| *seconds >= 0.0);
        let authorization = DeviceAuthorization {
            verification_url: page.ok_or_else(|| OAuthError::malformed("it has no `verification_uri`"))?,
            verification_url_complete: fields.verification_uri_complete,
            user_code: fields.user_code,
            expires_at: now.checked_add(lifetime).unwrap_or(now),
        };
        let interval = interval.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        Ok(Self { device_code: Secret::new(fields.device_code), interval, authorization })
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    lenient_seconds(&Value::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("it is not a number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn read(changes: &Value) -> Result<Started, OAuthError> {
        let mut answer = json!({
            "device_code": "canary", "user_code": "ABCD", "verification_uri": "https://login.test/", "expires_in": 600,
        });
        for (name, value) in changes.as_object().unwrap() {
            answer[name] = value.clone();
        }
        Started::read(&Answer::new(200, None, &answer.to_string()), NOW)
    }

    #[test]
    fn numbers_are_read_in_every_spelling() {
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
            let started = read(&changes).unwrap();
            let end = started.authorization.expires_at;
            assert_eq!((end, started.interval), (NOW + lifetime, interval), "{changes}");
        }
    }

    #[test]
    fn a_lifetime_that_is_over_is_expired() {
        for over in [json!(0), json!(-1), json!("0"), json!("-5"), json!(-0.5)] {
            let error = read(&json!({ "expires_in": over })).err().unwrap();
            assert!(error.is_expired(), "{over}: {error:?}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_named_by_its_member() {
        for (changes, expected) in [
            (json!({ "expires_in": "soon" }), "`expires_in`"),
            (json!({ "expires_in": null }), "`expires_in`"),
            (json!({ "device_code": ["canary"] }), "`device_code`"),
            (json!({ "verification_uri": null }), "`verification_uri`"),
            (json!({ "error": "unauthorized_client" }), "unauthorized_client"),
        ] {
            let shown = read(&changes).err().map(|error| format!("{error} {error:?}")).unwrap();
            assert!(shown.contains(expected) && !shown.contains("canary"), "{shown}");
        }
        let both = read(&json!({ "verification_url": "https://old.test/" })).unwrap();
        assert_eq!(both.authorization.verification_url, "https://login.test/");
        let old = read(&json!({ "verification_uri": null, "verification_url": "https://old.test/" })).unwrap();
        assert_eq!(old.authorization.verification_url, "https://old.test/");
    }
}
