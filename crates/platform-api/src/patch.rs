use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An optional field of an update (JSON merge patch style): a missing field means "unchanged", and `null` means
/// "clear".
///
/// ```
/// use platform_api::Patch;
/// use platform_api::models::MetadataUpdate;
///
/// let unchanged = MetadataUpdate::new();
/// assert_eq!(serde_json::to_string(&unchanged)?, "{}");
/// let cleared = MetadataUpdate::new().with_custom_metadata(Patch::Null);
/// assert_eq!(serde_json::to_string(&cleared)?, r#"{"custom_metadata":null}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Patch<T> {
    /// The field is not sent and remains unchanged.
    #[default]
    Absent,
    /// The field is cleared.
    Null,
    /// The field is set.
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
            // Serde skips absent struct fields, so `Absent` is not serialized here.
            Self::Null | Self::Absent => serializer.serialize_none(),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}
