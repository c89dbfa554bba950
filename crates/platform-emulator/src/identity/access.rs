//! Validity of access tokens.

use std::collections::HashMap;
use std::io;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::key::Claims;
use crate::platform::Platform;
use crate::state::store::{Changes, Store, StoredRecords};

/// The tokens that were revoked before their expiry.
#[derive(Default)]
pub(super) struct Revocations {
    /// The expiry of revoked tokens in seconds since 1970, by the id of the token.
    tokens: Mutex<HashMap<String, u64>>,
    /// The time of the last revocation of all tokens of a user, in microseconds since 1970, by the id of the user.
    users: Mutex<HashMap<String, u64>>,
}

/// The stored record of a revoked token.
#[derive(Deserialize, Serialize)]
struct Record {
    end: u64,
}

impl Revocations {
    pub(super) fn new(stored: &mut StoredRecords) -> io::Result<Self> {
        let tokens = stored.take::<Record>("revoked-token/")?.into_iter().map(|(id, record)| (id, record.end));
        let users = stored.take::<u64>("revoked-user/")?.into_iter();
        Ok(Self { tokens: Mutex::new(tokens.collect()), users: Mutex::new(users.collect()) })
    }

    /// Revokes a token. Removes revoked tokens that have expired.
    pub(super) fn revoke(
        &self,
        id: &str,
        expires_at: u64,
        now: u64,
        store: &Store,
    ) -> impl Future<Output = Result<(), String>> + use<> {
        let mut tokens = self.tokens.lock();
        let mut changes = Changes::default();
        for (expired_id, _) in tokens.extract_if(|_, expires_at| *expires_at <= now) {
            changes.remove(format!("revoked-token/{expired_id}"));
        }
        tokens.insert(id.to_owned(), expires_at);
        changes.put(format!("revoked-token/{id}"), &Record { end: expires_at });
        store.write(changes)
    }

    fn contains(&self, claims: &Claims) -> bool {
        claims.jti.as_ref().is_some_and(|id| self.tokens.lock().contains_key(id))
            || self.users.lock().get(&claims.sub).is_some_and(|revoked_at| issued_at(claims) <= *revoked_at)
    }
}

/// Returns the time of issue in microseconds, which the token id contains. The claim `iat` has a resolution of seconds,
/// which is not sufficient: a token that is issued immediately after a revocation must be valid.
fn issued_at(claims: &Claims) -> u64 {
    let issued_at = claims.jti.as_ref().and_then(|id| u64::from_str_radix(id.split_once('-')?.0, 16).ok());
    issued_at.unwrap_or(0)
}

impl Platform {
    /// Returns a new token id, which contains the time of issue.
    pub(super) fn new_token_id(&self) -> String {
        format!("{:x}-{}", self.identity.next_event_time(self.now()), self.random.token())
    }

    /// Returns the claims of a valid access token issued by the platform.
    pub(super) fn own_claims(&self, token: &str) -> Option<Claims> {
        let id = jsonwebtoken::decode_header(token).ok()?.kid?;
        let claims = self.identity.keys.find(&id)?.verify(&self.issuer, token, self.unix_now())?;
        (!self.identity.revocations.contains(&claims)).then_some(claims)
    }

    /// Revokes all current access tokens of a user.
    ///
    /// # Errors
    ///
    /// The revocation cannot be stored.
    pub(crate) async fn revoke_access_tokens(&self, user: &str) -> io::Result<()> {
        let written = {
            let mut users = self.identity.revocations.users.lock();
            let revoked_at = self.identity.next_event_time(self.now());
            users.insert(user.to_owned(), revoked_at);
            let mut changes = Changes::default();
            changes.put(format!("revoked-user/{user}"), &revoked_at);
            self.state.store().write(changes)
        };
        written.await.map_err(io::Error::other)
    }
}
