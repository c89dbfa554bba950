//! Refresh tokens with rotation. Reuse of a token revokes its whole family (RFC 9700, section 4.14.2).

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::form::OAuthError;
use crate::account::{INTERACTIVE_CLIENT_ID, User};
use crate::platform::Platform;
use crate::state::store::{Changes, StoredRecords};

/// All families of refresh tokens, by their id. Each login has one family.
pub(super) struct TokenFamilies(Mutex<HashMap<String, TokenFamily>>);

/// The refresh tokens of a login. Only their digests are stored.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct TokenFamily {
    pub(super) user: String,
    pub(super) client: String,
    pub(super) scope: String,
    started_at: Timestamp,
    /// The digest of the current token.
    current: Vec<u8>,
    /// The digests of the previous tokens, latest last.
    #[serde(default)]
    used: Vec<Vec<u8>>,
    rotated_at: Timestamp,
    /// True if the token can be used any number of times.
    #[serde(default)]
    lasting: bool,
    revoked: bool,
}

fn digest_of(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().to_vec()
}

/// Returns the id of the family of a token. It is the first part of the token.
fn family_id_of(token: &str) -> &str {
    token.split_once('.').map_or("", |(family, _)| family)
}

impl TokenFamily {
    /// Returns true if the token belongs to this family, even if it is no longer valid.
    fn contains(&self, digest: &Vec<u8>) -> bool {
        self.current == *digest || self.used.contains(digest)
    }
}

impl TokenFamilies {
    pub(super) fn new(stored: &mut StoredRecords) -> io::Result<Self> {
        Ok(Self(Mutex::new(stored.take::<TokenFamily>("refresh/")?.into_iter().collect())))
    }
}

impl Platform {
    fn new_refresh_token(&self, family: &str) -> String {
        format!("{family}.{}{}", self.random.token(), self.random.token())
    }

    /// Starts the family of a login, and returns its first refresh token.
    pub(super) async fn start_token_family(&self, user: &str, client: &str, scope: &str) -> Result<String, OAuthError> {
        self.add_token_family(user, client, scope, false).await
    }

    /// Starts a family whose only refresh token can be used any number of times, and returns this token.
    pub(crate) async fn start_reusable_token_family(&self, user: &User) -> Result<String, String> {
        let token = self.add_token_family(&user.id, INTERACTIVE_CLIENT_ID, "offline_access", true).await;
        token.map_err(|error| error.description().to_owned())
    }

    async fn add_token_family(
        &self,
        user: &str,
        client: &str,
        scope: &str,
        lasting: bool,
    ) -> Result<String, OAuthError> {
        let id = self.random.token();
        let token = self.new_refresh_token(&id);
        let now = self.timestamp();
        let family = TokenFamily {
            user: user.to_owned(),
            client: client.to_owned(),
            scope: scope.to_owned(),
            started_at: now,
            current: digest_of(&token),
            used: Vec::new(),
            rotated_at: now,
            lasting,
            revoked: false,
        };
        self.change_token_families(|families, changes| {
            let expired_ids: Vec<_> =
                families.iter().filter(|(_, family)| self.has_expired(family)).map(|(id, _)| id.clone()).collect();
            for id in expired_ids {
                families.remove(&id);
                changes.remove(format!("refresh/{id}"));
            }
            changes.put(format!("refresh/{id}"), &family);
            families.insert(id, family);
            Ok(token)
        })
        .await
    }

    fn has_expired(&self, family: &TokenFamily) -> bool {
        let lifetime = Duration::from_secs(self.config.refresh_lifetime_seconds);
        self.timestamp().duration_since(family.started_at).unsigned_abs() >= lifetime
    }

    /// Redeems a refresh token. Returns its family, the next token, and the result of `check`, which is called with the
    /// scope of the family. If `check` fails, the token is not consumed.
    pub(super) async fn rotate_refresh_token<T>(
        &self,
        token: &str,
        client: &str,
        check: impl FnOnce(&str) -> Result<T, OAuthError>,
    ) -> Result<(TokenFamily, String, T), OAuthError> {
        let refusal = |description| Err(OAuthError::new("invalid_grant", description));
        let (id, digest, now) = (family_id_of(token).to_owned(), digest_of(token), self.timestamp());
        self.change_token_families(|families, changes| {
            let family = families.get_mut(&id).filter(|family| family.client == client && !self.has_expired(family));
            let Some(family) = family.filter(|family| !family.revoked) else {
                return Ok(refusal("the refresh token is unknown, expired or revoked"));
            };
            let grace_period = Duration::from_secs(self.config.refresh_grace_seconds);
            let is_in_grace_period = family.used.last() == Some(&digest)
                && now.duration_since(family.rotated_at).unsigned_abs() < grace_period;
            if !family.contains(&digest) {
                return Ok(refusal("the refresh token is unknown, expired or revoked"));
            }
            if family.current != digest && !is_in_grace_period {
                // The token may have been stolen. Therefore the whole family is revoked.
                family.revoked = true;
                changes.put(format!("refresh/{id}"), family);
                return Ok(refusal("the refresh token was used before; the login is revoked"));
            }
            let check_result = check(&family.scope)?;
            if family.lasting {
                return Ok(Ok((family.clone(), token.to_owned(), check_result)));
            }
            let next_token = self.new_refresh_token(&id);
            family.used.push(std::mem::replace(&mut family.current, digest_of(&next_token)));
            family.rotated_at = now;
            changes.put(format!("refresh/{id}"), family);
            Ok(Ok((family.clone(), next_token, check_result)))
        })
        .await?
    }

    /// Revokes the family of a refresh token. Returns false if the token is unknown or belongs to another client.
    pub(super) async fn revoke_token_family(&self, token: &str, client: Option<&str>) -> Result<bool, OAuthError> {
        let (id, digest) = (family_id_of(token).to_owned(), digest_of(token));
        self.change_token_families(|families, changes| {
            let is_of_client = |family: &&mut TokenFamily| client.is_none_or(|client| family.client == client);
            let family = families.get_mut(&id).filter(is_of_client).filter(|family| family.contains(&digest));
            let Some(family) = family else { return Ok(false) };
            family.revoked = true;
            changes.put(format!("refresh/{id}"), family);
            Ok(true)
        })
        .await
    }

    async fn change_token_families<T>(
        &self,
        change: impl FnOnce(&mut HashMap<String, TokenFamily>, &mut Changes) -> Result<T, OAuthError>,
    ) -> Result<T, OAuthError> {
        let (outcome, written) = {
            let mut families = self.identity.families.0.lock();
            let mut changes = Changes::default();
            (change(&mut families, &mut changes)?, self.state.store().write(changes))
        };
        let store_error = |_| OAuthError::new("server_error", "cannot store the refresh token");
        written.await.map_err(store_error)?;
        Ok(outcome)
    }
}
