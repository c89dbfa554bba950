use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A field of a change for which nothing said and `null` mean different things.
///
/// ```
/// use platform_api::Patch;
/// use platform_api::models::MetadataUpdate;
///
/// let leave = MetadataUpdate::new();
/// assert_eq!(serde_json::to_string(&leave)?, "{}");
/// let clear = MetadataUpdate::new().with_custom_metadata(Patch::Null);
/// assert_eq!(serde_json::to_string(&clear)?, r#"{"custom_metadata":null}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Patch<T> {
    /// It is not sent, and stays as it is.
    #[default]
    Absent,
    /// It is cleared.
    Null,
    /// It is set.
    Value(T),
}

impl<T> Patch<T> {
    /// Returns true if the field is not sent.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T> From<T> for Patch<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            // One that is absent is not written at all, where it is a field.
            Self::Null | Self::Absent => serializer.serialize_none(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}
