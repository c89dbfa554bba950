//! Documents with credentials, read field by field: what a decoder says of a field shows what stands there.

use serde_json::{Map, Value};
use url::Url;

use super::CredentialError;
use crate::Server;

/// A JSON document, and where it is from.
pub(super) struct Document {
    place: String,
    value: Value,
}

impl Document {
    pub(super) fn parse(place: impl Into<String>, text: &str) -> Result<Self, CredentialError> {
        let place = place.into();
        let value = serde_json::from_str(text).map_err(|error| CredentialError::json(&place, &error))?;
        Ok(Self { place, value })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// A field that is a text, and not an empty one.
    pub(super) fn text(&self, field: &str) -> Result<&str, CredentialError> {
        self.value
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| CredentialError::field(&self.place, field, "a text that is not empty"))
    }

    pub(super) fn url(&self, field: &str) -> Result<Url, CredentialError> {
        url(&self.place, field, self.text(field)?)
    }

    /// The servers in a list of dependencies: the field of this name, or the whole document.
    pub(super) fn servers(&self, field: Option<&str>, gateway: &Url) -> Result<Vec<Server>, CredentialError> {
        let list = field.map_or(Some(&self.value), |field| self.value.get(field)).and_then(Value::as_array);
        let wrong = |at: String, expected| CredentialError::field(&self.place, at, expected);
        let name = field.unwrap_or("the whole");
        let list = list.ok_or_else(|| wrong(name.to_owned(), "a list of dependencies"))?;
        let entries = list.iter().enumerate().map(|(index, entry)| {
            let entry = entry.as_object().ok_or_else(|| wrong(format!("{name}[{index}]"), "an object"))?;
            let part = |part: &str| {
                segment(entry, part)
                    .ok_or_else(|| wrong(format!("{name}[{index}].{part}"), "a text that is not empty, `.` or `..`"))
            };
            let (ord_id, tenant) = (part("ordId")?, part("globalTenantId")?);
            Server::behind(gateway, ord_id, tenant)
                .map_err(|_| wrong(format!("{name}[{index}]"), "a server below the URL of the gateway"))
        });
        entries.collect()
    }
}

pub(super) fn url(place: &str, field: &str, text: &str) -> Result<Url, CredentialError> {
    let url = text.trim().parse::<Url>().ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    url.ok_or_else(|| CredentialError::field(place, field, "an https URL"))
}

/// A text that can stand between two slashes.
fn segment<'a>(entry: &'a Map<String, Value>, part: &str) -> Option<&'a str> {
    entry.get(part).and_then(Value::as_str).filter(|text| !matches!(text.trim(), "" | "." | ".."))
}
