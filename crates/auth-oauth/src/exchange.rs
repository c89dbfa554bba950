//! One form sent to an endpoint of the provider, and what comes back.

use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, Secret};
use auth_http::{HttpClient, HttpError, Method, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::OAuthError;

/// An exchange with the identity provider takes no longer than this, unless something else is said.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// Answers of an identity provider are small; a larger one is a mistake or an attack.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;
/// So much of what a provider says about an error is shown.
const LONGEST_DESCRIPTION: usize = 300;

/// A form that is to be sent. It holds secrets, and has no `Debug`.
pub(crate) struct Exchange {
    endpoint: Url,
    fields: String,
    authorization: Option<Secret>,
    secrets: Vec<Secret>,
    timeout: Duration,
}

/// What came back, whatever its status.
pub(crate) struct Answer {
    status: u16,
    body: Vec<u8>,
    /// What was sent, and is not shown even if it comes back.
    secrets: Vec<Secret>,
}

/// RFC 6749, section 5.2.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

impl Exchange {
    pub(crate) fn new(endpoint: Url) -> Self {
        Self { endpoint, fields: String::new(), authorization: None, secrets: Vec::new(), timeout: TIMEOUT }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        Serializer::for_suffix(&mut self.fields, 0).append_pair(name, value);
        self
    }

    /// The same for what nobody may see.
    pub(crate) fn with_secret(self, name: &str, value: &Secret) -> Self {
        let mut exchange = self.with(name, value.expose());
        exchange.secrets.push(value.clone());
        exchange
    }

    /// The same, if there is a value.
    pub(crate) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        value.into_iter().fold(self, |exchange, value| exchange.with(name, value))
    }

    /// It takes no longer than this.
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A header that proves who asks by a `secret`.
    pub(crate) fn with_authorization(mut self, value: Secret, secret: &Secret) -> Self {
        self.secrets.extend([value.clone(), secret.clone()]);
        self.authorization = Some(value);
        self
    }

    fn into_request(self) -> Request {
        let request = Request::new(Method::Post, self.endpoint)
            .with_timeout(self.timeout)
            .with_header("accept", "application/json")
            .with_body("application/x-www-form-urlencoded", self.fields);
        self.authorization.iter().fold(request, |request, value| request.with_header("authorization", value.expose()))
    }

    pub(crate) async fn send(mut self, http: &HttpClient) -> Result<Answer, HttpError> {
        let secrets = std::mem::take(&mut self.secrets);
        let response = http.send(self.into_request()).await?;
        Ok(Answer { status: response.status(), body: response.bytes(BODY_LIMIT).await?.to_vec(), secrets })
    }
}

impl Answer {
    #[cfg(test)]
    pub(crate) fn new(status: u16, body: &str) -> Self {
        Self { status, body: body.as_bytes().to_vec(), secrets: Vec::new() }
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The provider is at fault, or wants to be left alone for a while.
    pub(crate) fn is_overburdened(&self) -> bool {
        self.status >= 500 || self.status == 429
    }

    /// The token in the answer of a token endpoint (RFC 6749, section 5.1).
    pub(crate) fn token(&self, now: SystemTime) -> Result<AccessToken, OAuthError> {
        let answer = self.read()?;
        AccessToken::from_response(&answer, now).map_err(|error| OAuthError::malformed(error.to_string()))
    }

    /// What a good answer says.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, OAuthError> {
        if !self.is_success() {
            return Err(self.refusal());
        }
        // Where it is wrong, but not what stands there, which may be a token.
        let mut json = serde_json::Deserializer::from_slice(&self.body);
        serde_path_to_error::deserialize(&mut json)
            .map_err(|error| OAuthError::malformed(format!("at `{}`", error.path())))
    }

    /// The error that an answer other than a good one means.
    pub(crate) fn refusal(&self) -> OAuthError {
        match serde_json::from_slice::<Refusal>(&self.body) {
            // Whatever it says of the credential then, it does not mean it.
            _ if self.is_overburdened() => OAuthError::status(self.status),
            Ok(Refusal { error, error_description }) => {
                OAuthError::refused(self.shown(&error), error_description.map(|description| self.shown(&description)))
            }
            Err(_) => OAuthError::status(self.status),
        }
    }

    /// Text of the provider, without what it was told in confidence.
    fn shown(&self, text: &str) -> String {
        let secrets = self.secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty());
        shown(&secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***")))
    }
}

/// Text of the provider, without anything that could be more than text where it is shown.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_DESCRIPTION).collect()
}
