//! The folder and the keys of the tokens of a service.

use std::path::PathBuf;

use auth_core::{TokenKey, TokenKeyBuilder};
use auth_oauth::OAuthClient;
use sha2::{Digest, Sha256};

use crate::Settings;

/// The folder of stored logins.
pub(super) fn login_folder(settings: &Settings) -> PathBuf {
    settings.cache_folder.join("logins")
}

/// The key of the tokens of the user.
pub(super) fn token_key(settings: &Settings, client: &OAuthClient) -> TokenKey {
    match &settings.refresh_token {
        // A login of its own: what it rotates to is found by the variable, and a changed variable is another login.
        Some(secret) => {
            let fingerprint =
                Sha256::digest(secret.expose()).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            bound(settings, client.token_key().with_identity(format!("refresh_token {fingerprint}")))
        }
        None => login_key(settings, client),
    }
}

/// The key of a stored login: one for each platform, provider and client, in a folder of one user.
pub(super) fn login_key(settings: &Settings, client: &OAuthClient) -> TokenKey {
    bound(settings, client.token_key().with_identity("user_login"))
}

/// Bound to where it may go, so that no other platform and no other provider sees it.
fn bound(settings: &Settings, key: TokenKeyBuilder) -> TokenKey {
    let Settings { api_root, token_url, .. } = settings;
    key.with_origin(api_root.origin().ascii_serialization())
        .with_token_endpoint(token_url.origin().ascii_serialization())
        .build()
}
