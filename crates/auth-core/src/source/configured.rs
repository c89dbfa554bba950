//! Single-use credentials from the configuration, such as the first refresh token. Only one source of the process
//! presents such a credential at a time, and no source presents it after it was redeemed and replaced. Leases cannot
//! ensure this, because sources with different keys have different leases.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::{Secret, TokenError};

/// When this number of credentials is registered, adding another one first removes those that no source uses.
const CLEANUP_THRESHOLD: usize = 1024;

/// The digest of an issuer and a credential.
type CredentialDigest = [u8; 32];
/// The lock that the attempt holds while it presents the credential. The value is true once the credential was redeemed
/// and replaced.
type CredentialLock = Arc<tokio::sync::Mutex<bool>>;

/// The exclusive right to present one credential.
pub(crate) struct Reservation {
    lock: CredentialLock,
    guard: Option<OwnedMutexGuard<bool>>,
}

fn registry() -> MutexGuard<'static, HashMap<CredentialDigest, CredentialLock>> {
    static REGISTRY: OnceLock<Mutex<HashMap<CredentialDigest, CredentialLock>>> = OnceLock::new();
    REGISTRY.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reservation {
    /// Registers the credential. The caller must call [`reserve`](Self::reserve) before presenting it.
    pub(crate) fn new(issuer: &str, credential: Option<&Secret>) -> Self {
        let mut digest = Sha256::new();
        digest.update(issuer.len().to_be_bytes());
        digest.update(issuer);
        digest.update(credential.map_or("", Secret::expose));
        let mut registry = registry();
        if registry.len() >= CLEANUP_THRESHOLD {
            registry.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Self { lock: registry.entry(digest.finalize().into()).or_default().clone(), guard: None }
    }

    /// Waits until no other attempt presents the credential.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_refused`]: the credential was redeemed and replaced.
    pub(crate) async fn reserve(mut self) -> Result<Self, TokenError> {
        let guard = self.lock.clone().lock_owned().await;
        if *guard {
            return Err(TokenError::refused(
                "this process has already redeemed the configured refresh token, and received another one: share one \
                 token source, or configure a separate refresh token for each source",
            ));
        }
        self.guard = Some(guard);
        Ok(self)
    }

    /// Records that the credential was redeemed and replaced.
    pub(crate) fn mark_redeemed(mut self) {
        if let Some(guard) = &mut self.guard {
            **guard = true;
        }
    }
}
