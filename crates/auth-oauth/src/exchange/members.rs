//! JSON objects in which every member is stated once.
//!
//! Of two members of one name, one parser takes the first and another the last: the token that a proxy has checked need
//! not be the token that is used (RFC 8259, section 4).

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

pub(super) type Members = serde_json::Map<String, Value>;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not JSON, not an object, or followed by something else.
    NoObject,
    /// The member of this name is stated twice.
    Duplicate(String),
}

/// Reads the one object in `body`.
pub(super) fn members(body: &[u8]) -> Result<Members, Fault> {
    let duplicate = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = Once(&duplicate).deserialize(&mut reader).and_then(|members| reader.end().map(|()| members));
    read.map_err(|_| duplicate.take().map_or(Fault::NoObject, Fault::Duplicate))
}

/// Notes the name of a duplicate, which an error of `serde_json` cannot hand over.
struct Once<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Once<'_> {
    type Value = Members;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Once<'_> {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members, A::Error> {
        let mut read = Members::new();
        while let Some(name) = members.next_key::<String>()? {
            if read.contains_key(&name) {
                self.0.replace(Some(name));
                return Err(A::Error::custom("a member is stated twice"));
            }
            let value = members.next_value()?;
            read.insert(name, value);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_stated_once() {
        let read = members(br#" {"a": {"b": [1]}, "c": null} "#).unwrap();
        assert_eq!(Value::Object(read), serde_json::json!({ "a": { "b": [1] }, "c": null }));
        let duplicate = |name: &str| Err(Fault::Duplicate(name.to_owned()));
        assert_eq!(members(br#"{"a": 1, "b": 2, "a": 1}"#), duplicate("a"));
        assert_eq!(members(br#"{"a": 1, "\u0061": 2}"#), duplicate("a"), "escapes are the same name");
        for text in ["", "[]", "7", "{\"a\": 1", "{} {}", "\"a\"", "<html>"] {
            assert_eq!(members(text.as_bytes()), Err(Fault::NoObject), "{text}");
        }
    }
}
