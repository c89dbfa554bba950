use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::JsonValue;

/// The fields of a response that this version of the library does not know. They are preserved when the response is
/// serialized. `Debug` shows only their names, because the values may be secret.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct UnknownFields(BTreeMap<String, JsonValue>);

impl UnknownFields {
    /// Returns the value of a field, or `None` if the response has no such field. The value may be a secret.
    pub fn expose(&self, name: &str) -> Option<&JsonValue> {
        self.0.get(name)
    }

    /// Returns the names of the fields, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for UnknownFields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
