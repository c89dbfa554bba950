//! Form requests to the endpoints of the provider, and their responses.

mod response;

use std::time::{Duration, SystemTime};

use auth_core::Secret;
use auth_http::{HttpClient, HttpError, Method, Request};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::limits::{BODY_LIMIT, TIMEOUT};

pub(crate) use response::{FormResponse, sanitized};

/// A form request to an endpoint of the provider. It does not implement `Debug`, because it contains secrets.
pub(crate) struct FormRequest {
    endpoint: Url,
    encoded_fields: String,
    authorization: Option<Secret>,
    /// The secrets in the request, which are removed from errors.
    secrets: Vec<Secret>,
    timeout: Duration,
    /// True if the response may contain a token that is not an access token.
    accepts_non_access_token: bool,
}

impl FormRequest {
    pub(crate) fn new(endpoint: Url) -> Self {
        Self {
            endpoint,
            encoded_fields: String::new(),
            authorization: None,
            secrets: Vec::new(),
            timeout: TIMEOUT,
            accepts_non_access_token: false,
        }
    }

    /// Adds a field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        Serializer::for_suffix(&mut self.encoded_fields, 0).append_pair(name, value);
        self
    }

    /// Adds a field with a secret value.
    pub(crate) fn with_secret(self, name: &str, value: &Secret) -> Self {
        let mut form = self.with(name, value.expose());
        form.secrets.push(value.clone());
        form
    }

    /// Adds a field, unless `value` is `None`.
    pub(crate) fn with_optional(self, name: &str, value: Option<&str>) -> Self {
        value.into_iter().fold(self, |form, value| form.with(name, value))
    }

    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the `Authorization` header to `value`, which contains `secret` in encoded form.
    pub(crate) fn with_authorization(mut self, value: Secret, secret: &Secret) -> Self {
        self.secrets.extend([value.clone(), secret.clone()]);
        self.authorization = Some(value);
        self
    }

    /// Accepts a token that is not an access token. Its type is `N_A` (RFC 8693, section 2.2.1).
    pub(crate) fn accepting_non_access_token(mut self) -> Self {
        self.accepts_non_access_token = true;
        self
    }

    fn into_request(self) -> Request {
        let request = Request::new(Method::Post, self.endpoint)
            .with_timeout(self.timeout)
            .with_header("accept", "application/json")
            .with_body("application/x-www-form-urlencoded", self.encoded_fields);
        self.authorization.iter().fold(request, |request, value| request.with_header("authorization", value.expose()))
    }

    pub(crate) async fn send(mut self, http: &HttpClient, now: SystemTime) -> Result<FormResponse, HttpError> {
        let (secrets, accepts_non_access_token) = (std::mem::take(&mut self.secrets), self.accepts_non_access_token);
        let response = http.send(self.into_request()).await?;
        let (status, retry_after, date) = (response.status(), response.retry_after(now), response.date());
        let body = response.bytes(BODY_LIMIT).await?.to_vec();
        Ok(FormResponse { status, retry_after, date, body, secrets, accepts_non_access_token })
    }
}
