//! Typed strings (names, open enumerations, secrets) and their query encoding.

use std::borrow::Cow;
use std::fmt;

use auth_core::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value of an enumeration that this version of the library does not know.
///
/// Only the library can create such a value. A program therefore cannot match a value that becomes a variant in a later
/// version.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UnknownValue(Box<str>);

impl UnknownValue {
    pub(crate) fn new(value: &str) -> Self {
        Self(value.into())
    }

    /// Returns the value as sent by the platform.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UnknownValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A value that can be used as a query parameter.
pub trait QueryValue {
    /// Returns the value as text, before percent-encoding.
    fn text(&self) -> Cow<'_, str>;
}

impl QueryValue for String {
    fn text(&self) -> Cow<'_, str> {
        self.into()
    }
}

impl QueryValue for i64 {
    fn text(&self) -> Cow<'_, str> {
        self.to_string().into()
    }
}

impl QueryValue for bool {
    fn text(&self) -> Cow<'_, str> {
        if *self { "true" } else { "false" }.into()
    }
}

impl QueryValue for Secret {
    fn text(&self) -> Cow<'_, str> {
        self.expose().into()
    }
}

/// Serializes a secret into a request body, where the platform needs it in plain text.
pub(crate) fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// Serializes an optional secret into a request body.
#[expect(clippy::ref_option, reason = "`serialize_with` requires this signature")]
pub(crate) fn expose_optional<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

/// Deserializes a string in a response as a secret.
pub(crate) fn conceal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// Deserializes an optional string in a response as a secret.
pub(crate) fn conceal_optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

/// Implements a generated string type.
macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<String>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }

        $crate::text::impl_display_and_query_value!($name);
    };
}

/// Implements a generated enumeration, which preserves unknown values.
macro_rules! open_enum {
    ($name:ident { $($variant:ident = $value:literal),+ }) => {
        impl $name {
            /// Returns the value as it appears in JSON.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $value,)+
                    Self::Unknown(value) => value.as_str(),
                }
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                match value {
                    $($value => Self::$variant,)+
                    _ => Self::Unknown(crate::UnknownValue::new(value)),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Ok(Self::from(value.as_ref()))
            }
        }

        $crate::text::impl_display_and_query_value!($name);
    };
}

/// Implements `Display` and query encoding for a type with `as_str`.
macro_rules! impl_display_and_query_value {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl crate::QueryValue for $name {
            fn text(&self) -> std::borrow::Cow<'_, str> {
                self.as_str().into()
            }
        }
    };
}

pub(crate) use {impl_display_and_query_value, open_enum, text};
