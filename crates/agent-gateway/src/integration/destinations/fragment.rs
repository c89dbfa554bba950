//! Fragments: named sets of properties, which extend a destination and override its properties.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::Url;

use crate::credentials::CredentialError;

/// A fragment of a tenant. It contains only the properties that are needed, because others may be secret.
#[derive(Clone, Debug)]
pub(super) struct Fragment {
    pub(super) name: String,
    url: Option<String>,
}

/// The identity of a server in its URL, `…/{ordId}/{globalTenantId}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServerIdentity {
    pub(super) id: String,
    pub(super) tenant: String,
}

impl Fragment {
    /// Reads the fragments in a response, or returns the problem.
    pub(super) fn list(body: &[u8]) -> Result<Vec<Self>, &'static str> {
        let list: Value = serde_json::from_slice(body).map_err(|_| "it is not JSON")?;
        let list = list.as_array().ok_or("it is not a list")?;
        list.iter().map(|entry| Self::read(entry).ok_or("a fragment has no name")).collect()
    }

    fn read(entry: &Value) -> Option<Self> {
        let entry = entry.as_object()?;
        let name = property(entry, "FragmentName").filter(|name| !name.trim().is_empty())?;
        Some(Self { name: name.to_owned(), url: property(entry, "URL").map(str::to_owned) })
    }

    /// Returns the URL. `location` describes the fragment in errors.
    pub(super) fn url(&self, location: &str) -> Result<Url, CredentialError> {
        super::super::document::url(location, "URL", self.url.as_deref().unwrap_or_default())
    }

    /// Returns the identity in the URL. If the URL has no identity, the name of the fragment is the id.
    pub(super) fn identity(&self, url: &Url) -> ServerIdentity {
        let segments: Vec<_> = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        match segments[..] {
            [.., id, tenant] => ServerIdentity { id: decoded(id), tenant: decoded(tenant) },
            _ => ServerIdentity { id: self.name.clone(), tenant: String::new() },
        }
    }
}

/// Returns the text of a property. Its name is compared ignoring case, but an exact match takes priority.
pub(super) fn property<'a>(properties: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let exact = properties.get(name).and_then(Value::as_str);
    exact.or_else(|| properties.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_read_with_names_of_any_case() {
        let body =
            br#"[{"FragmentName": "a", "URL": "https://a.test/x/y"}, {"fragmentName": "b", "url": 7, "secret": "s"}]"#;
        let list = Fragment::list(body).unwrap();
        assert_eq!((list[0].name.as_str(), list[0].url("it").unwrap().as_str()), ("a", "https://a.test/x/y"));
        assert_eq!(list[1].url("the fragment `b`").unwrap_err().named_field(), Some("URL"));
        for invalid in ["", "{}", "[1]", r#"[{"URL": "https://a.test"}]"#, r#"[{"FragmentName": " "}]"#] {
            assert!(Fragment::list(invalid.as_bytes()).is_err(), "{invalid}");
        }
    }

    #[test]
    fn identity_is_in_the_last_two_segments() {
        let fragment = Fragment { name: "name".to_owned(), url: None };
        let identity = |url: &str| {
            let ServerIdentity { id, tenant } = fragment.identity(&url.parse().unwrap());
            (id, tenant)
        };
        let expected = ("sap.x:apiResource:orders:v1".to_owned(), "t/1".to_owned());
        assert_eq!(identity("https://a.test/v1/mcp/sap.x%3AapiResource%3Aorders%3Av1/t%2F1/"), expected);
        assert_eq!(identity("https://a.test/one"), ("name".to_owned(), String::new()));
    }
}
