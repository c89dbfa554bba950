//! The folder and the keys of a service's tokens.

use std::path::PathBuf;

use auth_core::{TokenKey, TokenKeyBuilder};
use auth_oauth::OAuthClient;
use sha2::{Digest, Sha256};

use crate::Settings;

/// Returns the folder of stored logins.
pub(super) fn login_folder(settings: &Settings) -> PathBuf {
    settings.cache_folder.join("logins")
}

/// Returns the key of the user's tokens.
pub(super) fn token_key(settings: &Settings, client: &OAuthClient) -> TokenKey {
    match settings.refresh_token() {
        // A refresh token from the settings is a separate login. The digest of its value is part of the key, so that
        // the rotated token is found by it, and another value is another login.
        Some(secret) => {
            let fingerprint =
                Sha256::digest(secret.expose()).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            bound(settings, client.token_key().with_identity(format!("refresh_token {fingerprint}")))
        }
        None => login_key(settings, client),
    }
}

/// Returns the key of a stored login: one for each platform, provider and client, in a folder of one user.
pub(super) fn login_key(settings: &Settings, client: &OAuthClient) -> TokenKey {
    bound(settings, client.token_key().with_identity("user_login"))
}

/// Binds a key of a client, which names its token endpoint, to the origin of the platform: no other platform or provider
/// receives the tokens.
pub(super) fn bound(settings: &Settings, key: TokenKeyBuilder) -> TokenKey {
    key.with_origin(settings.api_root.origin().ascii_serialization()).build()
}
