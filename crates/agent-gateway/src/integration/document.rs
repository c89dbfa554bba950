//! Documents with credentials. Each field is read separately, because the error messages of a decoder would show
//! values.

use serde_json::{Map, Value};
use url::Url;

use crate::credentials::CredentialError;
use crate::server::Server;

/// A JSON document, and its location for errors.
pub(super) struct Document {
    location: String,
    value: Value,
}

impl Document {
    pub(super) fn parse(location: impl Into<String>, text: &[u8]) -> Result<Self, CredentialError> {
        let location = location.into();
        let value = serde_json::from_slice(text).map_err(|error| CredentialError::json(&location, &error))?;
        Ok(Self { location, value })
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// Returns the value of a field, which must be a non-empty string.
    pub(super) fn required_string(&self, field: &str) -> Result<&str, CredentialError> {
        self.value
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| self.missing_string(field))
    }

    /// Returns the error of a field that is missing or not a non-empty string.
    pub(super) fn missing_string(&self, field: &str) -> CredentialError {
        CredentialError::field(&self.location, field, "a non-empty string")
    }

    pub(super) fn url(&self, field: &str) -> Result<Url, CredentialError> {
        url(&self.location, field, self.required_string(field)?)
    }

    /// Returns the whole document.
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// Returns the servers in the list of dependencies in a field.
    pub(super) fn servers(&self, field: &str, gateway: &Url) -> Result<Vec<Server>, CredentialError> {
        servers(&self.location, field, self.value.get(field), gateway)
    }
}

/// Returns the servers in a list of dependencies. `name` and `location` describe the list in errors.
pub(super) fn servers(
    location: &str,
    name: &str,
    list: Option<&Value>,
    gateway: &Url,
) -> Result<Vec<Server>, CredentialError> {
    let field_error = |path: String, expected| CredentialError::field(location, path, expected);
    let list = list.and_then(Value::as_array).ok_or_else(|| field_error(name.to_owned(), "a list of dependencies"))?;
    let server = |(index, entry): (usize, &Value)| {
        let entry = entry.as_object().ok_or_else(|| field_error(format!("{name}[{index}]"), "an object"))?;
        let segment = |segment: &str| {
            let path = || format!("{name}[{index}].{segment}");
            segment_member(entry, segment)
                .ok_or_else(|| field_error(path(), "a non-empty string other than `.` and `..`"))
        };
        Server::behind(gateway, segment("ordId")?, segment("globalTenantId")?)
            .map_err(|_| field_error(format!("{name}[{index}]"), "a server below the URL of the gateway"))
    };
    list.iter().enumerate().map(server).collect()
}

/// Parses an http or https URL.
pub(super) fn url(location: &str, field: &str, text: &str) -> Result<Url, CredentialError> {
    let url = text.trim().parse::<Url>().ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    url.ok_or_else(|| CredentialError::field(location, field, "an https URL"))
}

/// Returns a member that is valid as a path segment.
fn segment_member<'a>(entry: &'a Map<String, Value>, part: &str) -> Option<&'a str> {
    entry.get(part).and_then(Value::as_str).filter(|text| !matches!(text.trim(), "" | "." | ".."))
}
