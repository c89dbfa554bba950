use serde_json::{Map, Value};
use url::Url;

use super::error::AuthorizationError;

/// The members of a JSON document, and the URL that it comes from. Errors name a member, and never show its value.
pub(super) struct Members {
    pub(super) url: Url,
    members: Map<String, Value>,
}

impl Members {
    pub(super) fn new(url: &Url, members: Map<String, Value>) -> Self {
        Self { url: url.clone(), members }
    }

    /// Returns a string, or `None` if it is missing or null.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, AuthorizationError> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(name, "a string")),
        }
    }

    /// Returns a required, non-empty string.
    pub(super) fn required_text(&self, name: &str) -> Result<&str, AuthorizationError> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.invalid(name, "a non-empty string"))
    }

    /// Returns a list of strings, or `None` if it is missing or null.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, AuthorizationError> {
        let list = match self.members.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(list)) => list.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
            Some(_) => None,
        };
        list.map(Some).ok_or_else(|| self.invalid(name, "a list of strings"))
    }

    /// Returns a URL, or `None` if it is missing or null.
    pub(super) fn url(&self, name: &str) -> Result<Option<Url>, AuthorizationError> {
        let url = self.text(name)?.map(str::parse::<Url>).transpose();
        url.map_err(|_| self.invalid(name, "a URL"))
    }

    /// Returns a required URL.
    pub(super) fn required_url(&self, name: &str) -> Result<Url, AuthorizationError> {
        self.url(name)?.ok_or_else(|| self.invalid(name, "a URL"))
    }

    /// Returns a whole number, or `None` if it is missing or null.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, AuthorizationError> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| self.invalid(name, "a whole number")),
        }
    }

    /// Returns true if the member is `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.members.get(name) == Some(&Value::Bool(true))
    }

    fn invalid(&self, name: &str, expected: &str) -> AuthorizationError {
        AuthorizationError::document(&self.url, format!("`{name}` must be {expected}"))
    }
}
