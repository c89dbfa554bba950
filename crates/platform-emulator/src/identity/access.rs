//! Which access tokens are good.

use std::collections::HashMap;
use std::io;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::key::Claims;
use crate::platform::Platform;
use crate::store::{Changes, Found, Store};

/// What was revoked before its end.
#[derive(Default)]
pub(super) struct Revoked {
    /// Tokens by their id, with the second of their end.
    tokens: Mutex<HashMap<String, u64>>,
    /// All tokens that a user got up to this moment, in microseconds.
    users: Mutex<HashMap<String, u64>>,
}

#[derive(Deserialize, Serialize)]
struct Record {
    end: u64,
}

impl Revoked {
    pub(super) fn new(found: &mut Found) -> io::Result<Self> {
        let tokens = found.take::<Record>("revoked-token/")?.into_iter().map(|(id, record)| (id, record.end));
        let users = found.take::<u64>("revoked-user/")?.into_iter();
        Ok(Self { tokens: Mutex::new(tokens.collect()), users: Mutex::new(users.collect()) })
    }

    /// Revokes a token; those that have ended are forgotten.
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

/// When a token was issued, in microseconds: `iat` has only seconds, and a login right after a revocation is good.
fn issued_at(claims: &Claims) -> u64 {
    let moment = claims.jti.as_ref().and_then(|id| u64::from_str_radix(id.split_once('-')?.0, 16).ok());
    moment.unwrap_or(0)
}

impl Platform {
    /// The id of a new token, which says when it was issued.
    pub(super) fn new_token_id(&self) -> String {
        format!("{:x}-{}", self.identity.next_moment(self.now()), self.random.token())
    }

    /// What an access token of the platform's own says, if it is good.
    pub(super) fn own_claims(&self, token: &str) -> Option<Claims> {
        let id = jsonwebtoken::decode_header(token).ok()?.kid?;
        let claims = self.identity.keys.find(&id)?.verify(&self.issuer, token, self.unix_now())?;
        (!self.identity.revoked.holds(&claims)).then_some(claims)
    }

    /// Refuses all access tokens that a user has now.
    ///
    /// # Errors
    ///
    /// It cannot be written down.
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
