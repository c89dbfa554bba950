//! The signing keys of tokens. The last key signs new tokens. The other keys verify tokens until they are retired.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::{Value, json};

use super::key::SigningKey;
use crate::random::Random;
use crate::state::store::{Changes, Store, StoredRecords};

pub(super) struct SigningKeys(RwLock<Vec<NumberedKey>>);

/// A key with its number. Numbers increase with each rotation.
#[derive(Clone)]
struct NumberedKey {
    number: u32,
    key: Arc<SigningKey>,
}

impl SigningKeys {
    /// Loads the stored keys, or creates the first key.
    pub(super) async fn new(random: &Random, store: &Store, stored: &mut StoredRecords) -> io::Result<Self> {
        let mut keys = Vec::new();
        for (number, (id, pem)) in stored.take::<(String, String)>("signing-key/")? {
            let key = Arc::new(SigningKey::from_pem(id, &pem).map_err(io::Error::other)?);
            keys.push(NumberedKey { number: number.parse().map_err(io::Error::other)?, key });
        }
        let keys = Self(RwLock::new(keys));
        if keys.0.read().is_empty() {
            keys.rotate(random, store, false).await?;
        }
        Ok(keys)
    }

    /// Creates a new key for new tokens. If `retire` is true, the other keys are removed.
    pub(super) async fn rotate(&self, random: &Random, store: &Store, retire: bool) -> io::Result<()> {
        let (key, pem) = SigningKey::generate(random.token()).map_err(io::Error::other)?;
        let write = {
            let mut keys = self.0.write();
            let number = keys.last().map_or(0, |entry| entry.number + 1);
            let mut changes = Changes::default();
            for entry in keys.iter().filter(|_| retire) {
                changes.remove(format!("signing-key/{:06}", entry.number));
            }
            if retire {
                keys.clear();
            }
            changes.put(format!("signing-key/{number:06}"), &(key.id(), &pem));
            keys.push(NumberedKey { number, key: Arc::new(key) });
            store.write(changes)
        };
        write.await.map_err(io::Error::other)
    }

    pub(super) fn current(&self) -> Option<Arc<SigningKey>> {
        self.0.read().last().map(|entry| entry.key.clone())
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<SigningKey>> {
        self.0.read().iter().find(|entry| entry.key.id() == id).map(|entry| entry.key.clone())
    }

    pub(super) fn jwks(&self) -> Value {
        json!({ "keys": self.0.read().iter().map(|entry| entry.key.jwk()).collect::<Vec<_>>() })
    }
}
