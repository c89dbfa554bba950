//! Credential documents. They are read field by field, because the error messages of a decoder would show values.

use serde_json::{Map, Value};
use url::Url;

use crate::credentials::CredentialError;
use crate::server::Server;

/// A JSON document and its origin.
pub(super) struct Document {
    place: String,
    value: Value,
}

impl Document {
    pub(super) fn parse(place: impl Into<String>, text: &[u8]) -> Result<Self, CredentialError> {
        let place = place.into();
        let value = serde_json::from_slice(text).map_err(|error| CredentialError::json(&place, &error))?;
        Ok(Self { place, value })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Returns a non-empty text field.
    pub(super) fn text(&self, field: &str) -> Result<&str, CredentialError> {
        self.value
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| self.missing(field))
    }

    /// Returns the error of a text field that is missing, empty, or not a text.
    pub(super) fn missing(&self, field: &str) -> CredentialError {
        CredentialError::field(&self.place, field, "a non-empty string")
    }

    pub(super) fn url(&self, field: &str) -> Result<Url, CredentialError> {
        url(&self.place, field, self.text(field)?)
    }

    /// Returns the whole document.
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// Returns the servers in a field with a list of dependencies.
    pub(super) fn servers(&self, field: &str, gateway: &Url) -> Result<Vec<Server>, CredentialError> {
        servers(&self.place, field, self.value.get(field), gateway)
    }
}

/// Returns the servers in the list of dependencies called `name`.
pub(super) fn servers(
    place: &str,
    name: &str,
    list: Option<&Value>,
    gateway: &Url,
) -> Result<Vec<Server>, CredentialError> {
    let wrong = |at: String, expected| CredentialError::field(place, at, expected);
    let list = list.and_then(Value::as_array).ok_or_else(|| wrong(name.to_owned(), "a list of dependencies"))?;
    let server = |(index, entry): (usize, &Value)| {
        let entry = entry.as_object().ok_or_else(|| wrong(format!("{name}[{index}]"), "an object"))?;
        let part = |part: &str| {
            let at = || format!("{name}[{index}].{part}");
            segment(entry, part).ok_or_else(|| wrong(at(), "a non-empty string other than `.` and `..`"))
        };
        Server::behind(gateway, part("ordId")?, part("globalTenantId")?)
            .map_err(|_| wrong(format!("{name}[{index}]"), "a server below the URL of the gateway"))
    };
    list.iter().enumerate().map(server).collect()
}

/// Parses an http or https URL.
pub(super) fn url(place: &str, field: &str, text: &str) -> Result<Url, CredentialError> {
    let url = text.trim().parse::<Url>().ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    url.ok_or_else(|| CredentialError::field(place, field, "an https URL"))
}

/// Returns a text that is valid as a path segment.
fn segment<'a>(entry: &'a Map<String, Value>, part: &str) -> Option<&'a str> {
    entry.get(part).and_then(Value::as_str).filter(|text| !matches!(text.trim(), "" | "." | ".."))
}
