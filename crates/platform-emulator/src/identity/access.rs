//! Validity of access tokens.

use std::collections::HashMap;
use std::io;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::key::Claims;
use crate::platform::Platform;
use crate::state::store::{Changes, Store, StoredRecords};

/// Tokens revoked before their expiry.
#[derive(Default)]
pub(super) struct Revoked {
    /// The expiry of revoked tokens in seconds since 1970, by the id of the token.
    tokens: Mutex<HashMap<String, u64>>,
    /// The time in microseconds since 1970 before which all tokens of a user are revoked, by the id of the user.
    users: Mutex<HashMap<String, u64>>,
}

#[derive(Deserialize, Serialize)]
struct Record {
    end: u64,
}

impl Revoked {
    pub(super) fn new(found: &mut StoredRecords) -> io::Result<Self> {
        let tokens = found.take::<Record>("revoked-token/")?.into_iter().map(|(id, record)| (id, record.end));
        let users = found.take::<u64>("revoked-user/")?.into_iter();
        Ok(Self { tokens: Mutex::new(tokens.collect()), users: Mutex::new(users.collect()) })
    }

    /// Revokes a token. Removes revoked tokens that have expired.
    pub(super) fn revoke(
        &self,
        id: &str,
        end: u64,
        now: u64,
        store: &Store,
    ) -> impl Future<Output = Result<(), String>> + use<> {
        let mut tokens = self.tokens.lock();
        let mut changes = Changes::default();
        for (ended, _) in tokens.extract_if(|_, end| *end <= now) {
            changes.remove(format!("revoked-token/{ended}"));
        }
        tokens.insert(id.to_owned(), end);
        changes.put(format!("revoked-token/{id}"), &Record { end });
        store.write(changes)
    }

    fn holds(&self, claims: &Claims) -> bool {
        claims.jti.as_ref().is_some_and(|id| self.tokens.lock().contains_key(id))
            || self.users.lock().get(&claims.sub).is_some_and(|moment| issued_at(claims) <= *moment)
    }
}

/// Returns the time of issue in microseconds, from the token id. The resolution of `iat`, one second, is not
/// sufficient, because a token that is issued immediately after a revocation must be valid.
fn issued_at(claims: &Claims) -> u64 {
    let moment = claims.jti.as_ref().and_then(|id| u64::from_str_radix(id.split_once('-')?.0, 16).ok());
    moment.unwrap_or(0)
}

impl Platform {
    /// Returns a new token id, which contains the time of issue.
    pub(super) fn new_token_id(&self) -> String {
        format!("{:x}-{}", self.identity.next_moment(self.now()), self.random.token())
    }

    /// Returns the claims of a valid access token issued by the platform.
    pub(super) fn own_claims(&self, token: &str) -> Option<Claims> {
        let id = jsonwebtoken::decode_header(token).ok()?.kid?;
        let claims = self.identity.keys.find(&id)?.verify(&self.issuer, token, self.unix_now())?;
        (!self.identity.revoked.holds(&claims)).then_some(claims)
    }

    /// Revokes all current access tokens of a user.
    ///
    /// # Errors
    ///
    /// The revocation cannot be stored.
    pub(crate) async fn revoke_access(&self, user: &str) -> io::Result<()> {
        let written = {
            let mut users = self.identity.revoked.users.lock();
            let moment = self.identity.next_moment(self.now());
            users.insert(user.to_owned(), moment);
            let mut changes = Changes::default();
            changes.put(format!("revoked-user/{user}"), &moment);
            self.state.store().write(changes)
        };
        written.await.map_err(io::Error::other)
    }
}
