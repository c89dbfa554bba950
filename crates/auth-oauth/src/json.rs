//! Parsing of JSON objects without duplicate member names.
//!
//! If a name occurs twice, some parsers use the first value, and others use the last. One program could then check a
//! value, and another program could use the other value (RFC 8725, section 2.4; RFC 8259, section 4). Duplicate names
//! are therefore an error at any depth. `serde_json` limits the depth to 128.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

pub(crate) type Object = serde_json::Map<String, Value>;

/// An error of parsing a JSON object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ObjectError {
    /// The text is not JSON, is not an object, or is followed by other data.
    Malformed,
    /// A member with this name occurs more than once.
    Duplicate(String),
}

/// Parses a JSON object.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Object, ObjectError> {
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = RejectDuplicates(&duplicate).deserialize(&mut deserializer);
    match value.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(duplicate.take().map_or(ObjectError::Malformed, ObjectError::Duplicate)),
    }
}

/// A deserializer of any JSON value. It stores the name of a duplicate member in the cell, because an error of
/// `serde_json` cannot contain the name.
#[derive(Clone, Copy)]
struct RejectDuplicates<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for RejectDuplicates<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RejectDuplicates<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                self.0.replace(Some(name));
                return Err(A::Error::custom("duplicate member"));
            }
            let value = members.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_member_is_an_error() {
        let parsed = parse_object(br#" {"a": {"b": [1]}, "c": null} "#).unwrap();
        assert_eq!(Value::Object(parsed), serde_json::json!({ "a": { "b": [1] }, "c": null }));
        let duplicate = |name: &str| Err(ObjectError::Duplicate(name.to_owned()));
        assert_eq!(parse_object(br#"{"a": 1, "b": 2, "a": 1}"#), duplicate("a"));
        assert_eq!(parse_object(br#"{"a": 1, "\u0061": 2}"#), duplicate("a"), "an escaped name is the same name");
        assert_eq!(parse_object(br#"{"a": [{"b": 1, "b": 1}]}"#), duplicate("b"), "at any depth");
        for text in ["", "[]", "7", "{\"a\": 1", "{} {}", "\"a\"", "<html>"] {
            assert_eq!(parse_object(text.as_bytes()), Err(ObjectError::Malformed), "{text}");
        }
    }
}
