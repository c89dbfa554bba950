//! JSON objects without duplicate member names.
//!
//! If a name occurs twice, one parser uses the first value and another the last, so a checked value may differ from the
//! used one (RFC 8725, section 2.4; RFC 8259, section 4). Such objects are refused, at any depth. `serde_json` limits
//! the depth to 128.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

pub(crate) type Object = serde_json::Map<String, Value>;

/// The reason why a JSON object is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The text is not JSON, is not an object, or has trailing data.
    Malformed,
    /// The member with this name occurs twice.
    Duplicate(String),
}

/// Parses the only object in `bytes`.
pub(crate) fn object(bytes: &[u8]) -> Result<Object, Fault> {
    let duplicate = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(&duplicate).deserialize(&mut reader);
    match value.and_then(|value| reader.end().map(|()| value)) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(duplicate.take().map_or(Fault::Malformed, Fault::Duplicate)),
    }
}

/// A value of any type. It records the name of a duplicate, which an error of `serde_json` cannot carry.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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
                return Err(A::Error::custom("a member is stated twice"));
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
    fn member_is_stated_once() {
        let read = object(br#" {"a": {"b": [1]}, "c": null} "#).unwrap();
        assert_eq!(Value::Object(read), serde_json::json!({ "a": { "b": [1] }, "c": null }));
        let duplicate = |name: &str| Err(Fault::Duplicate(name.to_owned()));
        assert_eq!(object(br#"{"a": 1, "b": 2, "a": 1}"#), duplicate("a"));
        assert_eq!(object(br#"{"a": 1, "\u0061": 2}"#), duplicate("a"), "escapes are the same name");
        assert_eq!(object(br#"{"a": [{"b": 1, "b": 1}]}"#), duplicate("b"), "at any depth");
        for text in ["", "[]", "7", "{\"a\": 1", "{} {}", "\"a\"", "<html>"] {
            assert_eq!(object(text.as_bytes()), Err(Fault::Malformed), "{text}");
        }
    }
}
