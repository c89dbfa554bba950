//! The principals that grants obtain tokens as.

use auth_core::Secret;
use sha2::{Digest, Sha256};

use crate::OAuthClient;

impl OAuthClient {
    /// Returns the identity of a grant of this client: readable, and different for everything that a token of the client
    /// depends on. `principal` is what the grant itself adds, such as a subject.
    pub(crate) fn identity(&self, grant: &str, principal: Option<&str>) -> String {
        // Tenants of one provider may differ only in the path of their token endpoints.
        let key = self.token_key().with_identity(grant).with_token_endpoint(self.token_endpoint());
        let key = principal.into_iter().fold(key, auth_core::TokenKeyBuilder::with_subject).build();
        format!("{grant} client={} {}", self.id(), key.digest_hex())
    }
}

/// Returns the SHA-256 of a secret in hexadecimal: a name for it that does not reveal it.
pub(crate) fn fingerprint(secret: &Secret) -> String {
    Sha256::digest(secret.expose()).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
