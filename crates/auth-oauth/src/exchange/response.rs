//! The responses of the endpoints of the provider.

use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, Secret, is_transient_status};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::OAuthError;
use crate::json::{self, Object, ObjectError};

/// The maximum length of a text from the provider in an error message, in characters.
const MAX_DESCRIPTION_CHARS: usize = 300;
/// The maximum length of a member name in an error message, in characters.
const MAX_NAME_CHARS: usize = 40;
/// The token type of tokens that are not access tokens (RFC 8693, section 2.2.1).
const NON_ACCESS_TOKEN_TYPE: &str = "N_A";

/// A response of the provider, with any status.
pub(crate) struct FormResponse {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// The time of the response by the clock of the provider.
    pub(super) date: Option<SystemTime>,
    pub(super) body: Vec<u8>,
    /// The secrets in the request. They are removed from errors, because the provider may echo them.
    pub(super) secrets: Vec<Secret>,
    pub(super) accepts_non_access_token: bool,
}

/// An error response (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// The other tokens in a response whose access token cannot be used.
#[derive(Default, Deserialize)]
struct OtherTokens {
    refresh_token: Option<String>,
    id_token: Option<String>,
}

impl FormResponse {
    #[cfg(test)]
    pub(crate) fn new(status: u16, retry_after: Option<Duration>, body: &str) -> Self {
        let body = body.as_bytes().to_vec();
        Self { status, retry_after, date: None, body, secrets: Vec::new(), accepts_non_access_token: false }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns true if the status shows that the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        is_transient_status(self.status)
    }

    /// Returns the time of the response by the clock of the provider.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        self.date
    }

    /// Returns the delay that the provider requests before the next request.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns true if the response has the error code `slow_down` (RFC 8628, section 3.5), with any status.
    pub(crate) fn is_slow_down(&self) -> bool {
        serde_json::from_slice::<Refusal>(&self.body).is_ok_and(|refusal| refusal.error == "slow_down")
    }

    /// Returns the token in the response of a token endpoint (RFC 6749, section 5.1).
    pub(crate) fn token(&self, now: SystemTime) -> Result<AccessToken, OAuthError> {
        // A gateway may respond with 5xx although the provider has processed the request.
        let may_have_issued_token =
            |error: &OAuthError| self.status >= 500 || (self.is_success() && !error.is_refusal());
        self.parse_token(now)
            .map_err(|error| if may_have_issued_token(&error) { error.into_uncertain() } else { error })
    }

    /// Returns the refresh token in a successful response whose access token cannot be used. Store the refresh token,
    /// because no other response contains it.
    pub(crate) fn refresh_token(&self) -> Option<Secret> {
        self.other_tokens().refresh_token.filter(|text| !text.trim().is_empty()).map(Secret::new)
    }

    /// Returns the ID token in a successful response whose access token cannot be used.
    pub(crate) fn id_token(&self) -> Option<Secret> {
        self.other_tokens().id_token.map(Secret::new)
    }

    fn other_tokens(&self) -> OtherTokens {
        serde_json::from_slice(&self.body).ok().filter(|_| self.is_success()).unwrap_or_default()
    }

    fn parse_token(&self, now: SystemTime) -> Result<AccessToken, OAuthError> {
        let mut members = self.members()?;
        let token_type = members.get("token_type").and_then(Value::as_str).map(|text| self.without_secrets(text));
        let is_non_access_token =
            token_type.as_ref().is_some_and(|text| text.eq_ignore_ascii_case(NON_ACCESS_TOKEN_TYPE));
        let is_accepted = is_non_access_token && self.accepts_non_access_token;
        if is_accepted {
            members.remove("token_type");
        } else if let Some(token_type) = token_type {
            members.insert("token_type".to_owned(), token_type.into());
        }
        let token = AccessToken::from_response(&Value::Object(members), now)
            .map_err(|error| OAuthError::unusable_token(&error))?;
        Ok(if is_accepted { token.with_token_type(NON_ACCESS_TOKEN_TYPE) } else { token })
    }

    /// Deserializes a successful response.
    pub(crate) fn deserialize<T: DeserializeOwned>(&self) -> Result<T, OAuthError> {
        // The error contains the path of the invalid value. It does not contain the value, which may be a token.
        serde_path_to_error::deserialize(Value::Object(self.members()?))
            .map_err(|error| OAuthError::malformed(format!("invalid value at `{}`", error.path())))
    }

    /// Returns the members of a successful response. A response with an `error` is a refusal regardless of its status,
    /// because some providers send refusals with 200.
    fn members(&self) -> Result<Object, OAuthError> {
        if !self.is_success() {
            return Err(self.refusal());
        }
        let members = json::parse_object(&self.body).map_err(|error| self.malformed(&error))?;
        match members.get("error") {
            None | Some(Value::Null) => Ok(members),
            Some(Value::String(code)) if code.is_empty() => Ok(members),
            Some(Value::String(code)) => {
                let description = members.get("error_description").and_then(Value::as_str);
                Err(OAuthError::refused(self.sanitized(code), description.map(|text| self.sanitized(text))))
            }
            Some(_) => Err(OAuthError::malformed("invalid value at `error`")),
        }
    }

    fn malformed(&self, error: &ObjectError) -> OAuthError {
        match error {
            ObjectError::Malformed => OAuthError::malformed("it is not a JSON object"),
            ObjectError::Duplicate(name) => {
                let name: String = self.sanitized(name).chars().take(MAX_NAME_CHARS).collect();
                OAuthError::malformed(format!("it has more than one member `{name}`"))
            }
        }
    }

    /// Returns the error of an unsuccessful response.
    pub(crate) fn refusal(&self) -> OAuthError {
        match serde_json::from_slice::<Refusal>(&self.body) {
            // The error code of an overloaded or failing provider is not reliable.
            _ if self.is_transient() => OAuthError::status(self.status, self.retry_after),
            Ok(Refusal { error, error_description }) => OAuthError::refused(
                self.sanitized(&error),
                error_description.map(|description| self.sanitized(&description)),
            ),
            Err(_) => OAuthError::status(self.status, self.retry_after),
        }
    }

    /// Prepares a text from the provider for an error message, and also removes the secrets of the request.
    fn sanitized(&self, text: &str) -> String {
        sanitized(&self.without_secrets(text))
    }

    fn without_secrets(&self, text: &str) -> String {
        let secrets = self.secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// Prepares a text from the provider for an error message: removes control characters, and truncates the text.
pub(crate) fn sanitized(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_DESCRIPTION_CHARS).collect()
}

#[cfg(test)]
mod tests;
