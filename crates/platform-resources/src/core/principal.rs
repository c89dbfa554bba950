//! The principals of cached responses.

use std::sync::{Mutex, PoisonError};

use auth_core::AccessToken;
use sha2::{Digest, Sha256};

/// The SHA-256 of an access token. It cannot be computed without the token.
pub(crate) type Principal = [u8; 32];

/// The maximum number of tokens whose digests are remembered.
const MAX_REMEMBERED: usize = 16;

/// The digests of recently used tokens, so that each digest is computed only once.
#[derive(Debug, Default)]
pub(super) struct Principals(Mutex<Vec<(AccessToken, Principal)>>);

impl Principals {
    pub(super) fn of(&self, token: &AccessToken) -> Principal {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, principal)) = known.iter().find(|(known, _)| known.is_same(token)) {
            return *principal;
        }
        let principal = Sha256::digest(token.secret().expose()).into();
        if known.len() == MAX_REMEMBERED {
            known.remove(0);
        }
        known.push((token.clone(), principal));
        principal
    }
}
