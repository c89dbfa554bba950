//! The folder and the cache keys of a service's tokens.

use std::path::PathBuf;

use auth_core::{TokenKey, TokenKeyBuilder};
use auth_oauth::OAuthClient;
use sha2::{Digest, Sha256};

use crate::Settings;

/// Returns the folder of stored logins.
pub(super) fn login_folder(settings: &Settings) -> PathBuf {
    settings.cache_folder.join("logins")
}

/// Returns the cache key of the user's tokens.
pub(super) fn token_key(settings: &Settings, client: &OAuthClient) -> TokenKey {
    match settings.refresh_token() {
        // A refresh token in the settings is separate from the stored login. The digest of its value is part of the
        // key: the rotated token is found under it, and another value has another key.
        Some(secret) => {
            let fingerprint =
                Sha256::digest(secret.expose()).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            for_platform(settings, client.token_key().with_identity(format!("refresh_token {fingerprint}")))
        }
        None => login_key(settings, client),
    }
}

/// Returns the cache key of a stored login. There is one for each platform, identity provider and OAuth client; the
/// folder belongs to one user.
pub(super) fn login_key(settings: &Settings, client: &OAuthClient) -> TokenKey {
    for_platform(settings, client.token_key().with_identity("user_login"))
}

/// Adds the origin of the platform to the cache key of an OAuth client, which already contains the token endpoint.
/// Tokens are therefore never sent to another platform or identity provider.
pub(super) fn for_platform(settings: &Settings, key: TokenKeyBuilder) -> TokenKey {
    key.with_origin(settings.api_root.origin().ascii_serialization()).build()
}
