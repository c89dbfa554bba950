use std::sync::Arc;

use serde_json::Value;

use super::JwtAlgorithm;
use super::error::KeyError;
use super::key::Key;
use crate::json::{self, ObjectError};

/// The maximum number of keys in a set. Issuers usually publish two or three.
const MAX_KEYS: usize = 100;

/// The usable keys that an issuer publishes (RFC 7517, section 5). The set is not empty.
pub(super) struct KeySet(Vec<Arc<Key>>);

impl KeySet {
    /// Parses a JWK set. Unusable keys are ignored, as RFC 7517, section 5, recommends.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let key_set = json::parse_object(bytes).map_err(|error| match error {
            ObjectError::Malformed => KeyError::Unusable("it is not a JSON object"),
            ObjectError::Duplicate(_) => KeyError::Unusable("it has a duplicate member"),
        })?;
        let published_keys = key_set.get("keys").and_then(Value::as_array);
        let published_keys = published_keys.ok_or(KeyError::Unusable("it has no list of `keys`"))?;
        if published_keys.len() > MAX_KEYS {
            return Err(KeyError::Unusable("it has more than 100 keys"));
        }
        let keys: Vec<_> = published_keys.iter().filter_map(Key::parse).map(Arc::new).collect();
        if keys.is_empty() {
            return Err(KeyError::Unusable("it has no key that verifies signatures"));
        }
        tracing::debug!(published = published_keys.len(), usable = keys.len(), "fetched the keys of the issuer");
        Ok(Self(keys))
    }

    /// Returns the first key with this id that can be used with the algorithm. Ids need not be unique (RFC 7517,
    /// section 4.5).
    pub(super) fn find(&self, kid: &str, algorithm: JwtAlgorithm) -> Option<Arc<Key>> {
        self.0.iter().find(|key| key.matches(kid, algorithm)).cloned()
    }
}
