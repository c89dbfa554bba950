//! The response of the service to a request for a destination.

use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, Secret, TokenError};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use url::Url;

use super::fragment::property;
use crate::transport::sanitize;

/// A response with a destination, extended by a fragment, and the token for it.
#[derive(Deserialize)]
pub(super) struct DestinationResponse {
    #[serde(rename = "destinationConfiguration")]
    configuration: Map<String, Value>,
    #[serde(rename = "authTokens", default)]
    tokens: Vec<TokenEntry>,
}

#[derive(Deserialize)]
struct TokenEntry {
    #[serde(rename = "type")]
    kind: Option<String>,
    http_header: Option<TokenHeader>,
    /// Seconds, as a number or as text.
    expires_in: Option<Value>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct TokenHeader {
    #[serde(deserialize_with = "deserialize_secret")]
    value: Secret,
}

/// The reason for a missing token.
pub(super) enum NoToken {
    /// The service has obtained no token, for this reason.
    Reason(String),
    /// The service returned a token that cannot be sent.
    Malformed(TokenError),
}

fn deserialize_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

impl DestinationResponse {
    /// Returns the URL, if it is valid.
    pub(super) fn url(&self) -> Option<Url> {
        let url: Url = property(&self.configuration, "URL")?.trim().parse().ok()?;
        (matches!(url.scheme(), "https" | "http") && url.has_host()).then_some(url)
    }

    /// Returns the token. `now` is the time of the response, and `assertion` is the assertion of the request.
    pub(super) fn token(self, now: SystemTime, assertion: Option<&AccessToken>) -> Result<AccessToken, NoToken> {
        let Some(token) = self.tokens.into_iter().next() else {
            return Err(NoToken::Reason("the authentication type of the destination returns no token".to_owned()));
        };
        let Some(header) = token.http_header.filter(|header| !header.value.expose().trim().is_empty()) else {
            let reason = token.error.unwrap_or_else(|| "the service gave no reason".to_owned());
            // The service may repeat the assertion in its reason.
            let assertion = assertion.map(|assertion| assertion.secret().expose()).filter(|text| !text.is_empty());
            let reason = assertion.map_or_else(|| reason.clone(), |secret| reason.replace(secret, "***"));
            return Err(NoToken::Reason(sanitize(&reason)));
        };
        let access_token = AccessToken::new(header.value).map_err(NoToken::Malformed)?;
        let access_token = token.kind.into_iter().fold(access_token, AccessToken::with_token_type);
        let seconds = token.expires_in.and_then(|seconds| match seconds {
            Value::String(text) => text.trim().parse().ok(),
            number => number.as_u64(),
        });
        let expiry = seconds.and_then(|seconds| now.checked_add(Duration::from_secs(seconds)));
        Ok(expiry.into_iter().fold(access_token, AccessToken::with_expires_at))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn response_with(tokens: &Value) -> DestinationResponse {
        serde_json::from_value(json!({
            "owner": {}, "destinationConfiguration": { "Name": "d", "URL": "https://gateway.test/", "clientSecret": "s" },
            "authTokens": tokens,
        }))
        .unwrap()
    }

    #[test]
    fn token_and_lifetime_come_from_the_entry() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        for expires_in in [json!("600"), json!(600)] {
            let header = json!({ "key": "Authorization", "value": "Bearer canary" });
            let tokens =
                json!([{ "type": "bearer", "value": "canary", "http_header": header, "expires_in": expires_in }]);
            let response = response_with(&tokens);
            assert_eq!(response.url().unwrap().as_str(), "https://gateway.test/");
            let token = response.token(now, None).ok().unwrap();
            assert_eq!(token.secret().expose(), "canary");
            assert_eq!((token.token_type(), token.expires_at()), ("Bearer", Some(now + Duration::from_secs(600))));
        }
    }

    #[test]
    fn missing_token_has_a_reason_without_the_assertion() {
        let assertion = AccessToken::new(Secret::new("canary-assertion")).unwrap();
        let tokens = json!([{ "type": "", "value": "", "error": "invalid canary-assertion:\n expired" }]);
        let Err(NoToken::Reason(reason)) = response_with(&tokens).token(SystemTime::UNIX_EPOCH, Some(&assertion))
        else {
            panic!("a token")
        };
        assert_eq!(reason, "invalid ***: expired");
        assert!(matches!(response_with(&json!([])).token(SystemTime::UNIX_EPOCH, None), Err(NoToken::Reason(_))));
        let spaces = json!([{ "type": "Bearer", "http_header": { "key": "a", "value": "two words" } }]);
        assert!(matches!(response_with(&spaces).token(SystemTime::UNIX_EPOCH, None), Err(NoToken::Malformed(_))));
    }
}
