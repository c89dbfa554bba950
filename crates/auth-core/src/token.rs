use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Secret, TokenError};

/// The type of almost every token (RFC 6750).
const BEARER: &str = "Bearer";

/// An access token, how long it lives, and what came with it. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Arc<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    secret: Secret,
    token_type: String,
    lifetime: Lifetime,
    not_after: Option<SystemTime>,
    refresh_at: Option<SystemTime>,
    scopes: BTreeSet<String>,
    id_token: Option<Secret>,
    refresh_token: Option<Secret>,
    client_id: Option<String>,
    unverified: Option<Unverified>,
}

/// The reason why an access token is kept without being served.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Unverified {
    pub(crate) reason: String,
    /// When the token was obtained.
    pub(crate) since: SystemTime,
    /// Verification was possible, and the token failed it.
    pub(crate) is_final: bool,
}

/// What is known of the end of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// Nothing was said. A [`TokenSource`](crate::TokenSource) looks into the token if it is a JWT,
    /// and otherwise gives it the fallback of its [`ExpiryPolicy`](crate::ExpiryPolicy).
    #[default]
    Unstated,
    /// The token is accepted until this moment.
    Until(SystemTime),
    /// Whoever gave the token out said that it has no end. It is never refreshed.
    Unlimited,
}

impl AccessToken {
    /// A bearer token of which nothing else is known. A `Bearer ` before it, in any case, is
    /// removed, so that no header says `Bearer Bearer …`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if nothing is left, or anything but visible ASCII (RFC 6750,
    /// section 2.1): it could not be sent in a header.
    pub fn new(secret: Secret) -> Result<Self, TokenError> {
        let text = secret.expose().trim_matches([' ', '\t']);
        let bare = match text.split_at_checked(BEARER.len()) {
            Some((prefix, rest))
                if prefix.eq_ignore_ascii_case(BEARER) && (rest.is_empty() || rest.starts_with([' ', '\t'])) =>
            {
                rest.trim_start_matches([' ', '\t'])
            }
            _ => text,
        };
        if bare.is_empty() {
            return Err(TokenError::malformed("it is empty"));
        }
        if !bare.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::malformed("it holds spaces, control characters or other than ASCII"));
        }
        let secret = if bare.len() == secret.expose().len() { secret } else { Secret::new(bare) };
        Ok(Self(Arc::new(Inner {
            secret,
            token_type: BEARER.to_owned(),
            lifetime: Lifetime::Unstated,
            not_after: None,
            refresh_at: None,
            scopes: BTreeSet::new(),
            id_token: None,
            refresh_token: None,
            client_id: None,
            unverified: None,
        })))
    }

    /// How long the token lives.
    pub fn with_lifetime(self, lifetime: Lifetime) -> Self {
        self.with(|inner| inner.lifetime = lifetime)
    }

    /// The moment from which the token is no longer accepted.
    pub fn with_expires_at(self, expires_at: SystemTime) -> Self {
        self.with_lifetime(Lifetime::Until(expires_at))
    }

    /// A moment that the token does not outlive, whatever else is said of its end: that of the
    /// assertion which it was exchanged for.
    pub fn with_not_after(self, not_after: SystemTime) -> Self {
        self.with(|inner| inner.not_after = Some(not_after))
    }

    /// The moment from which another token should be obtained, while this one is still good.
    pub fn with_refresh_at(self, refresh_at: Option<SystemTime>) -> Self {
        self.with(|inner| inner.refresh_at = refresh_at)
    }

    /// The type of the token; `Bearer` by default and, whatever its case, as RFC 6750 writes it. A token of another type
    /// is kept, but [`BearerPolicy`](crate::BearerPolicy) does not send it.
    pub fn with_token_type(self, token_type: impl Into<String>) -> Self {
        let token_type = token_type.into();
        let token_type = if is_bearer(&token_type) { BEARER.to_owned() } else { token_type };
        self.with(|inner| inner.token_type = token_type)
    }

    /// The scopes that the token carries.
    pub fn with_scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.with(|inner| inner.scopes = scopes.into_iter().map(Into::into).collect())
    }

    /// The id token that came with it (`OpenID` Connect Core, section 2).
    pub fn with_id_token(self, id_token: Secret) -> Self {
        self.with(|inner| inner.id_token = Some(id_token))
    }

    /// The refresh token that came with it (RFC 6749, section 1.5).
    pub fn with_refresh_token(self, refresh_token: Secret) -> Self {
        self.with(|inner| inner.refresh_token = Some(refresh_token))
    }

    /// Sets the client that the refresh token was issued to: no other client can redeem it (RFC 6749, section 6).
    pub fn with_client_id(self, client_id: impl Into<String>) -> Self {
        let client_id = client_id.into();
        self.with(|inner| inner.client_id = Some(client_id))
    }

    /// Marks a token that could not be verified when it was obtained at `since`, for `reason`, which must not contain the
    /// token. It is kept, since it may have come with a refresh token, and it is not served until its provider has
    /// [verified](crate::AsyncTokenProvider::verify) it. `is_final` is true if the token failed verification,
    /// and false if it could not be verified: after a failure it is not renewed for 5 minutes, since the next one would probably fail too.
    pub fn with_unverified(self, reason: impl Into<String>, since: SystemTime, is_final: bool) -> Self {
        let reason = reason.into();
        self.with(|inner| inner.unverified = Some(Unverified { reason, since, is_final }))
    }

    /// Returns the token without the mark of [`with_unverified`](Self::with_unverified).
    pub fn verified(self) -> Self {
        self.with(|inner| inner.unverified = None)
    }

    /// Returns the token without its refresh token.
    pub fn without_refresh_token(self) -> Self {
        self.with(|inner| inner.refresh_token = None)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The token itself.
    pub fn secret(&self) -> &Secret {
        &self.0.secret
    }

    /// The type of the token (RFC 6749, section 7.1).
    pub fn token_type(&self) -> &str {
        &self.0.token_type
    }

    /// How long the token lives, as it was said.
    pub fn lifetime(&self) -> Lifetime {
        self.0.lifetime
    }

    /// The moment from which the token is no longer accepted, if one is known.
    pub fn expires_at(&self) -> Option<SystemTime> {
        match self.0.lifetime {
            Lifetime::Until(end) => Some(self.0.not_after.map_or(end, |bound| bound.min(end))),
            Lifetime::Unstated | Lifetime::Unlimited => self.0.not_after,
        }
    }

    /// The end that the token states itself, if it is a JWT that does (`exp`; RFC 7519, section 4.1.4). Nothing is
    /// verified.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use auth_core::{AccessToken, Secret};
    ///
    /// let jwt = AccessToken::new(Secret::new("eyJhbGciOiJub25lIn0.eyJleHAiOjEwMDB9."))?;
    /// assert_eq!(jwt.jwt_expiry(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1000)));
    /// assert_eq!(AccessToken::new(Secret::new("opaque"))?.jwt_expiry(), None);
    /// # Ok::<(), auth_core::TokenError>(())
    /// ```
    pub fn jwt_expiry(&self) -> Option<SystemTime> {
        crate::expiry::jwt_expiry(&self.0.secret)
    }

    /// The moment that the token does not outlive, whatever else is said of its end.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.0.not_after
    }

    /// The moment from which another token should be obtained.
    pub fn refresh_at(&self) -> Option<SystemTime> {
        self.0.refresh_at
    }

    /// The scopes that the token carries, as far as they were said.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.scopes.iter().map(String::as_str)
    }

    /// The id token that came with it.
    pub fn id_token(&self) -> Option<&Secret> {
        self.0.id_token.as_ref()
    }

    /// The refresh token that came with it.
    pub fn refresh_token(&self) -> Option<&Secret> {
        self.0.refresh_token.as_ref()
    }

    /// Returns the client that the refresh token was issued to, if it is known.
    pub fn client_id(&self) -> Option<&str> {
        self.0.client_id.as_deref()
    }

    /// Returns the reason why the token is unverified, or `None` if it may be served.
    pub fn unverified_reason(&self) -> Option<&str> {
        self.0.unverified.as_ref().map(|unverified| unverified.reason.as_str())
    }

    pub(crate) fn unverified(&self) -> Option<&Unverified> {
        self.0.unverified.as_ref()
    }

    pub(crate) fn with_unverified_record(self, unverified: Option<Unverified>) -> Self {
        self.with(|inner| inner.unverified = unverified)
    }

    /// Whether both are one token: their secrets are equal, whatever is known of them.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.secret == other.0.secret
    }
}

/// Returns `true` for the type of bearer tokens. Types have no case (RFC 6749, section 5.1).
pub(crate) fn is_bearer(token_type: &str) -> bool {
    token_type.trim().eq_ignore_ascii_case(BEARER)
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { token_type, lifetime, refresh_at, scopes, .. } = &*self.0;
        formatter
            .debug_struct("AccessToken")
            .field("token_type", token_type)
            .field("lifetime", lifetime)
            .field("refresh_at", refresh_at)
            .field("scopes", scopes)
            .finish_non_exhaustive()
    }
}
