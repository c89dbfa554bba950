//! The principals of cached responses.

use std::sync::{Mutex, PoisonError};

use auth_core::AccessToken;
use sha2::{Digest, Sha256};

/// The SHA-256 of an access token. Only a caller that has the token can compute it.
pub(crate) type Principal = [u8; 32];

/// The maximum number of tokens whose digests are remembered.
const MAX_RECENT_TOKENS: usize = 16;

/// The digests of recently used tokens, so that each digest is computed only once.
#[derive(Debug, Default)]
pub(super) struct Principals(Mutex<Vec<(AccessToken, Principal)>>);

impl Principals {
    pub(super) fn of(&self, token: &AccessToken) -> Principal {
        let mut recent_tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, principal)) = recent_tokens.iter().find(|(recent_token, _)| recent_token.is_same(token)) {
            return *principal;
        }
        let principal = Sha256::digest(token.secret().expose()).into();
        if recent_tokens.len() == MAX_RECENT_TOKENS {
            recent_tokens.remove(0);
        }
        recent_tokens.push((token.clone(), principal));
        principal
    }
}
