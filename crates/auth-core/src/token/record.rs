use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::token::Unverified;
use crate::{AccessToken, Lifetime, Secret, TokenError};

/// The serializable form of a token, for persistent caches. It contains all properties of the token, and its secrets in
/// plain text.
///
/// [`AccessToken`] itself is not serializable, so that no token is serialized by accident. The cache must encrypt or
/// protect the serialized record.
///
/// ```
/// use auth_core::{AccessToken, TokenRecord};
///
/// let token = AccessToken::try_from("abc")?;
/// let json = serde_json::to_string(&TokenRecord::from_token(&token)).unwrap();
/// let record: TokenRecord = serde_json::from_str(&json).unwrap();
/// assert_eq!(record.into_token()?, token);
/// # Ok::<(), auth_core::TokenError>(())
/// ```
#[derive(Deserialize, Serialize)]
pub struct TokenRecord {
    access_token: String,
    token_type: String,
    lifetime: Lifetime,
    #[serde(rename = "is_assumed", default, skip_serializing_if = "std::ops::Not::not")]
    is_expiry_assumed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<SystemTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_after: Option<SystemTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_at: Option<SystemTime>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unverified: Option<Unverified>,
}

impl TokenRecord {
    /// Creates the record of a token.
    pub fn from_token(token: &AccessToken) -> Self {
        let expose_text = |secret: &Secret| secret.expose().to_owned();
        Self {
            access_token: expose_text(token.secret()),
            token_type: token.token_type().to_owned(),
            lifetime: token.lifetime(),
            is_expiry_assumed: token.is_expiry_assumed(),
            not_before: token.not_before(),
            not_after: token.not_after(),
            refresh_at: token.refresh_at(),
            scopes: token.scopes().map(str::to_owned).collect(),
            id_token: token.id_token().map(expose_text),
            refresh_token: token.refresh_token().map(expose_text),
            client_id: token.client_id().map(str::to_owned),
            unverified: token.unverified().cloned(),
        }
    }

    /// Returns the token of the record.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if the access token of the record cannot be sent in a header.
    pub fn into_token(self) -> Result<AccessToken, TokenError> {
        let mut token = AccessToken::new(Secret::new(self.access_token))?
            .with_token_type(self.token_type)
            .with_lifetime(self.lifetime)
            .with_expiry_assumed(self.is_expiry_assumed)
            .with_refresh_at(self.refresh_at)
            .with_scopes(self.scopes);
        if let Some(not_before) = self.not_before {
            token = token.with_not_before(not_before);
        }
        if let Some(not_after) = self.not_after {
            token = token.with_not_after(not_after);
        }
        if let Some(id_token) = self.id_token {
            token = token.with_id_token(Secret::new(id_token));
        }
        if let Some(refresh_token) = self.refresh_token {
            token = token.with_refresh_token(Secret::new(refresh_token));
        }
        if let Some(client_id) = self.client_id {
            token = token.with_client_id(client_id);
        }
        Ok(token.with_unverified_record(self.unverified))
    }
}

impl fmt::Debug for TokenRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenRecord(***)")
    }
}
