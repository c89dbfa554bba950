use serde_json::{Map, Value};
use url::Url;

use super::error::AuthorizationError;

/// A JSON object and its URL. Errors name a member, and never show its value.
pub(super) struct JsonDocument {
    pub(super) url: Url,
    members: Map<String, Value>,
}

impl JsonDocument {
    pub(super) fn new(url: &Url, members: Map<String, Value>) -> Self {
        Self { url: url.clone(), members }
    }

    /// Returns a string, or `None` if it is missing or null.
    pub(super) fn optional_string(&self, name: &str) -> Result<Option<&str>, AuthorizationError> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(name, "a string")),
        }
    }

    /// Returns a required, non-empty string.
    pub(super) fn required_string(&self, name: &str) -> Result<&str, AuthorizationError> {
        self.optional_string(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.invalid(name, "a non-empty string"))
    }

    /// Returns a list of strings, or `None` if it is missing or null.
    pub(super) fn optional_strings(&self, name: &str) -> Result<Option<Vec<&str>>, AuthorizationError> {
        let list = match self.members.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(list)) => list.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
            Some(_) => None,
        };
        list.map(Some).ok_or_else(|| self.invalid(name, "a list of strings"))
    }

    /// Returns a URL, or `None` if it is missing or null.
    pub(super) fn optional_url(&self, name: &str) -> Result<Option<Url>, AuthorizationError> {
        let url = self.optional_string(name)?.map(str::parse::<Url>).transpose();
        url.map_err(|_| self.invalid(name, "a URL"))
    }

    /// Returns a required URL.
    pub(super) fn required_url(&self, name: &str) -> Result<Url, AuthorizationError> {
        self.optional_url(name)?.ok_or_else(|| self.invalid(name, "a URL"))
    }

    /// Returns a whole number, or `None` if it is missing or null.
    pub(super) fn optional_integer(&self, name: &str) -> Result<Option<u64>, AuthorizationError> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| self.invalid(name, "a whole number")),
        }
    }

    /// Returns true if the member is `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.members.get(name) == Some(&Value::Bool(true))
    }

    fn invalid(&self, name: &str, expected: &str) -> AuthorizationError {
        AuthorizationError::document(&self.url, format!("`{name}` must be {expected}"))
    }
}
