//! The answer of an endpoint of the provider.

use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, Secret, is_transient_status};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::OAuthError;
use crate::json::{self, Fault, Object};

/// Longest text of the provider that an error shows, in characters.
const LONGEST_DESCRIPTION: usize = 300;
/// Longest name of a member that an error shows, in characters.
const LONGEST_NAME: usize = 40;
/// The type of tokens that are not access tokens (RFC 8693, section 2.2.1).
const NON_ACCESS: &str = "N_A";

/// An answer of any status.
pub(crate) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// The time of the response by the clock of the provider.
    pub(super) date: Option<SystemTime>,
    pub(super) body: Vec<u8>,
    /// Secrets of the request, which errors never show, even if they come back.
    pub(super) secrets: Vec<Secret>,
    pub(super) accepts_non_access: bool,
}

/// RFC 6749, section 5.2.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

impl Answer {
    #[cfg(test)]
    pub(crate) fn new(status: u16, retry_after: Option<Duration>, body: &str) -> Self {
        let body = body.as_bytes().to_vec();
        Self { status, retry_after, date: None, body, secrets: Vec::new(), accepts_non_access: false }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The provider is at fault, or wants to be left alone for a while.
    pub(crate) fn is_overburdened(&self) -> bool {
        is_transient_status(self.status)
    }

    /// Returns the time of the response by the clock of the provider.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        self.date
    }

    /// Returns the time that the provider wants before the next request.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns `true` if it asks for a longer interval between requests (RFC 8628, section 3.5), whatever its status.
    pub(crate) fn is_slow_down(&self) -> bool {
        serde_json::from_slice::<Refusal>(&self.body).is_ok_and(|refusal| refusal.error == "slow_down")
    }

    /// The token in the answer of a token endpoint (RFC 6749, section 5.1).
    pub(crate) fn token(&self, now: SystemTime) -> Result<AccessToken, OAuthError> {
        // A gateway can answer 5xx after the provider has done its work.
        let may_be_done = |error: &OAuthError| self.status >= 500 || (self.is_success() && !error.is_refusal());
        self.granted(now).map_err(|error| if may_be_done(&error) { error.uncertain() } else { error })
    }

    /// Returns the refresh token of a successful answer whose access token cannot be used. It is stated once.
    pub(crate) fn refresh_token(&self) -> Option<Secret> {
        #[derive(Deserialize)]
        struct Rest {
            refresh_token: Option<String>,
        }
        let rest = serde_json::from_slice::<Rest>(&self.body).ok().filter(|_| self.is_success());
        rest?.refresh_token.filter(|text| !text.trim().is_empty()).map(Secret::new)
    }

    fn granted(&self, now: SystemTime) -> Result<AccessToken, OAuthError> {
        let mut answer = self.members()?;
        let token_type = answer.get("token_type").and_then(Value::as_str).map(|text| self.without_secrets(text));
        let is_non_access = token_type.as_ref().is_some_and(|text| text.eq_ignore_ascii_case(NON_ACCESS));
        let is_accepted = is_non_access && self.accepts_non_access;
        if is_accepted {
            answer.remove("token_type");
        } else if let Some(token_type) = token_type {
            answer.insert("token_type".to_owned(), token_type.into());
        }
        let token =
            AccessToken::from_response(&Value::Object(answer), now).map_err(|error| OAuthError::unusable(&error))?;
        Ok(if is_accepted { token.with_token_type(NON_ACCESS) } else { token })
    }

    /// Reads the members of a good answer.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, OAuthError> {
        // Where it is wrong, but not what stands there, which may be a token.
        serde_path_to_error::deserialize(Value::Object(self.members()?))
            .map_err(|error| OAuthError::malformed(format!("at `{}`", error.path())))
    }

    /// The members of a good answer. One with an `error` is a refusal, whatever its status: some providers send their
    /// refusals with 200.
    fn members(&self) -> Result<Object, OAuthError> {
        if !self.is_success() {
            return Err(self.refusal());
        }
        let members = json::object(&self.body).map_err(|fault| self.malformed(&fault))?;
        match members.get("error") {
            None | Some(Value::Null) => Ok(members),
            Some(Value::String(code)) if code.is_empty() => Ok(members),
            Some(Value::String(code)) => {
                let description = members.get("error_description").and_then(Value::as_str);
                Err(OAuthError::refused(self.shown(code), description.map(|text| self.shown(text))))
            }
            Some(_) => Err(OAuthError::malformed("at `error`")),
        }
    }

    fn malformed(&self, fault: &Fault) -> OAuthError {
        match fault {
            Fault::Malformed => OAuthError::malformed("it is not a JSON object"),
            Fault::Duplicate(name) => {
                let name: String = self.shown(name).chars().take(LONGEST_NAME).collect();
                OAuthError::malformed(format!("it has more than one member `{name}`"))
            }
        }
    }

    /// The error that an answer other than a good one means.
    pub(crate) fn refusal(&self) -> OAuthError {
        match serde_json::from_slice::<Refusal>(&self.body) {
            // Whatever it says of the credential then, it does not mean it.
            _ if self.is_overburdened() => OAuthError::status(self.status, self.retry_after),
            Ok(Refusal { error, error_description }) => {
                OAuthError::refused(self.shown(&error), error_description.map(|description| self.shown(&description)))
            }
            Err(_) => OAuthError::status(self.status, self.retry_after),
        }
    }

    /// Text of the provider without the secrets of the request.
    fn shown(&self, text: &str) -> String {
        shown(&self.without_secrets(text))
    }

    fn without_secrets(&self, text: &str) -> String {
        let secrets = self.secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// Text of the provider, without anything that could be more than text where it is shown.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_DESCRIPTION).collect()
}

#[cfg(test)]
mod tests;
