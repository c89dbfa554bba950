//! A form that is sent to an endpoint of the provider, and its response.

mod answer;

use std::time::{Duration, SystemTime};

use auth_core::Secret;
use auth_http::{HttpClient, HttpError, Method, Request};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::limits::{BODY_LIMIT, TIMEOUT};

pub(crate) use answer::{Answer, sanitized};

/// A form to send. It contains secrets, and therefore does not implement `Debug`.
pub(crate) struct Exchange {
    endpoint: Url,
    fields: String,
    authorization: Option<Secret>,
    secrets: Vec<Secret>,
    timeout: Duration,
    accepts_non_access: bool,
}

impl Exchange {
    pub(crate) fn new(endpoint: Url) -> Self {
        Self {
            endpoint,
            fields: String::new(),
            authorization: None,
            secrets: Vec::new(),
            timeout: TIMEOUT,
            accepts_non_access: false,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        Serializer::for_suffix(&mut self.fields, 0).append_pair(name, value);
        self
    }

    /// Adds a secret field.
    pub(crate) fn with_secret(self, name: &str, value: &Secret) -> Self {
        let mut exchange = self.with(name, value.expose());
        exchange.secrets.push(value.clone());
        exchange
    }

    /// Adds a field, if there is a value.
    pub(crate) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        value.into_iter().fold(self, |exchange, value| exchange.with(name, value))
    }

    /// Sets the timeout.
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the `Authorization` header, which contains `secret`.
    pub(crate) fn with_authorization(mut self, value: Secret, secret: &Secret) -> Self {
        self.secrets.extend([value.clone(), secret.clone()]);
        self.authorization = Some(value);
        self
    }

    /// Accepts a response whose token is not an access token: its type may be `N_A` (RFC 8693, section 2.2.1).
    pub(crate) fn accepting_non_access(mut self) -> Self {
        self.accepts_non_access = true;
        self
    }

    fn into_request(self) -> Request {
        let request = Request::new(Method::Post, self.endpoint)
            .with_timeout(self.timeout)
            .with_header("accept", "application/json")
            .with_body("application/x-www-form-urlencoded", self.fields);
        self.authorization.iter().fold(request, |request, value| request.with_header("authorization", value.expose()))
    }

    pub(crate) async fn send(mut self, http: &HttpClient, now: SystemTime) -> Result<Answer, HttpError> {
        let (secrets, accepts_non_access) = (std::mem::take(&mut self.secrets), self.accepts_non_access);
        let response = http.send(self.into_request()).await?;
        let (status, retry_after, date) = (response.status(), response.retry_after(now), response.date());
        let body = response.bytes(BODY_LIMIT).await?.to_vec();
        Ok(Answer { status, retry_after, date, body, secrets, accepts_non_access })
    }
}
