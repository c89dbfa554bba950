//! Single-use credentials from the configuration, such as the first refresh token. One source of the process presents a
//! credential at a time, and no source presents one that is used up. Leases cannot ensure this, because sources with
//! different keys have different leases.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::{Secret, TokenError};

/// The number of remembered credentials at which those that are not in use are forgotten.
const CLEANUP_THRESHOLD: usize = 1024;

/// The digest of an issuer and a credential.
type Name = [u8; 32];
/// The lock of the attempt that presents the credential. Its value is true once the credential is used up.
type Use = Arc<tokio::sync::Mutex<bool>>;

/// The exclusive right to present one credential.
pub(crate) struct Turn {
    usage: Use,
    guard: Option<OwnedMutexGuard<bool>>,
}

fn registry() -> MutexGuard<'static, HashMap<Name, Use>> {
    static REGISTRY: OnceLock<Mutex<HashMap<Name, Use>>> = OnceLock::new();
    REGISTRY.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turn {
    /// Prepares a turn for the credential. It is not reserved yet.
    pub(crate) fn new(issuer: &str, credential: Option<&Secret>) -> Self {
        let mut digest = Sha256::new();
        digest.update(issuer.len().to_be_bytes());
        digest.update(issuer);
        digest.update(credential.map_or("", Secret::expose));
        let mut registry = registry();
        if registry.len() >= CLEANUP_THRESHOLD {
            registry.retain(|_, usage| Arc::strong_count(usage) > 1);
        }
        Self { usage: registry.entry(digest.finalize().into()).or_default().clone(), guard: None }
    }

    /// Waits until no other attempt presents the credential.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_refused`]: it is used up.
    pub(crate) async fn reserve(mut self) -> Result<Self, TokenError> {
        let guard = self.usage.clone().lock_owned().await;
        if *guard {
            return Err(TokenError::refused(
                "the configured refresh token was redeemed by this process, and replaced: share one token source, or \
                 configure a refresh token for each",
            ));
        }
        self.guard = Some(guard);
        Ok(self)
    }

    /// Records that the credential is used up.
    pub(crate) fn use_up(mut self) {
        if let Some(guard) = &mut self.guard {
            **guard = true;
        }
    }
}
