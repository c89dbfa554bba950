pub(crate) mod expiry;
pub(crate) mod key;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod secret;
pub(crate) mod signed_url;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Secret, TokenError};

/// The type of almost all tokens (RFC 6750).
const BEARER: &str = "Bearer";

/// An access token with its lifetime and its other properties. Clones are cheap.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use auth_core::{AccessToken, Secret};
///
/// let expires_at = SystemTime::now() + Duration::from_secs(3600);
/// let token = AccessToken::new(Secret::new("Bearer abc"))?.with_expires_at(expires_at);
/// assert_eq!(token.secret().expose(), "abc");
/// assert_eq!(token.expires_at(), Some(expires_at));
/// # Ok::<(), auth_core::TokenError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Arc<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    secret: Secret,
    token_type: String,
    lifetime: Lifetime,
    /// True if neither the issuer nor the token specifies the expiry, so that an expiry policy has assumed one.
    is_expiry_assumed: bool,
    not_before: Option<SystemTime>,
    not_after: Option<SystemTime>,
    refresh_at: Option<SystemTime>,
    scopes: BTreeSet<String>,
    id_token: Option<Secret>,
    refresh_token: Option<Secret>,
    client_id: Option<String>,
    unverified: Option<Unverified>,
}

/// The reason why an access token is stored without being used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Unverified {
    pub(crate) reason: String,
    /// The time at which the token was obtained.
    pub(crate) since: SystemTime,
    /// True if the token failed verification, and false if it could not be verified.
    pub(crate) is_final: bool,
}

/// The lifetime of a token, as specified by its issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lifetime {
    /// The issuer did not specify a lifetime.
    ///
    /// A [`TokenSource`](crate::TokenSource) reads the expiry of a JWT from the token. Other tokens get the fallback of
    /// its [`ExpiryPolicy`](crate::ExpiryPolicy).
    #[default]
    #[serde(rename = "unstated")]
    Unspecified,
    /// The token expires at this time.
    Until(SystemTime),
    /// The token does not expire, according to its issuer. It is never refreshed.
    Unlimited,
}

impl AccessToken {
    /// Creates a bearer token with an unspecified lifetime.
    ///
    /// A leading `Bearer ` is removed, ignoring case, so that no header contains `Bearer Bearer …`.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if the token cannot be sent in a header, because it is empty or contains anything
    /// but visible ASCII characters (RFC 6750, section 2.1).
    pub fn new(secret: Secret) -> Result<Self, TokenError> {
        let trimmed_text = secret.expose().trim_matches([' ', '\t']);
        let bare_token = match trimmed_text.split_at_checked(BEARER.len()) {
            Some((prefix, rest))
                if prefix.eq_ignore_ascii_case(BEARER) && (rest.is_empty() || rest.starts_with([' ', '\t'])) =>
            {
                rest.trim_start_matches([' ', '\t'])
            }
            _ => trimmed_text,
        };
        if bare_token.is_empty() {
            return Err(TokenError::malformed("it is empty"));
        }
        if !bare_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::malformed("it contains spaces, control characters or non-ASCII characters"));
        }
        let secret = if bare_token.len() == secret.expose().len() { secret } else { Secret::new(bare_token) };
        Ok(Self(Arc::new(Inner {
            secret,
            token_type: BEARER.to_owned(),
            lifetime: Lifetime::Unspecified,
            is_expiry_assumed: false,
            not_before: None,
            not_after: None,
            refresh_at: None,
            scopes: BTreeSet::new(),
            id_token: None,
            refresh_token: None,
            client_id: None,
            unverified: None,
        })))
    }

    /// Sets the lifetime of the token.
    pub fn with_lifetime(self, lifetime: Lifetime) -> Self {
        self.update(|inner| (inner.lifetime, inner.is_expiry_assumed) = (lifetime, false))
    }

    /// Marks the expiry as assumed by a policy, because neither the issuer nor the token specifies one.
    pub(crate) fn with_expiry_assumed(self, is_expiry_assumed: bool) -> Self {
        self.update(|inner| inner.is_expiry_assumed = is_expiry_assumed)
    }

    pub(crate) fn is_expiry_assumed(&self) -> bool {
        self.0.is_expiry_assumed
    }

    /// Sets the time at which the token expires.
    pub fn with_expires_at(self, expires_at: SystemTime) -> Self {
        self.with_lifetime(Lifetime::Until(expires_at))
    }

    /// Sets the time at which the token was obtained. Before this time, the token counts as expired, because the clock
    /// has been set back and the other times of the token are unreliable.
    pub fn with_not_before(self, not_before: SystemTime) -> Self {
        self.update(|inner| inner.not_before = Some(not_before))
    }

    /// Sets an upper bound for the expiry, such as the expiry of the assertion that was exchanged for the token.
    pub fn with_not_after(self, not_after: SystemTime) -> Self {
        self.update(|inner| inner.not_after = Some(not_after))
    }

    /// Sets the time from which the token should be refreshed, although it is still valid.
    pub fn with_refresh_at(self, refresh_at: Option<SystemTime>) -> Self {
        self.update(|inner| inner.refresh_at = refresh_at)
    }

    /// Sets the type of the token. The default is `Bearer`, which is normalized to the case of RFC 6750.
    ///
    /// A token of another type is stored, but [`BearerPolicy`](crate::BearerPolicy) does not send it.
    pub fn with_token_type(self, token_type: impl Into<String>) -> Self {
        let token_type = token_type.into();
        let token_type = if is_bearer(&token_type) { BEARER.to_owned() } else { token_type };
        self.update(|inner| inner.token_type = token_type)
    }

    /// Sets the scopes of the token.
    pub fn with_scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.update(|inner| inner.scopes = scopes.into_iter().map(Into::into).collect())
    }

    /// Sets the ID token that was issued with the token (`OpenID` Connect Core, section 2).
    pub fn with_id_token(self, id_token: Secret) -> Self {
        self.update(|inner| inner.id_token = Some(id_token))
    }

    /// Sets the refresh token that was issued with the token (RFC 6749, section 1.5).
    pub fn with_refresh_token(self, refresh_token: Secret) -> Self {
        self.update(|inner| inner.refresh_token = Some(refresh_token))
    }

    /// Sets the client that the refresh token was issued to. No other client can redeem it (RFC 6749, section 6).
    pub fn with_client_id(self, client_id: impl Into<String>) -> Self {
        let client_id = client_id.into();
        self.update(|inner| inner.client_id = Some(client_id))
    }

    /// Marks the token as unverified. `reason` states why it is unverified, and must not contain the token. `since` is
    /// the time at which the token was obtained. `is_final` is true if the token failed verification, and false if it
    /// could not be verified.
    ///
    /// A source stores the token, because it may have a refresh token, but does not serve it until its provider has
    /// [verified](crate::AsyncTokenProvider::verify) it. A token that failed verification is not refreshed for 5
    /// minutes, because the next token would probably fail, too.
    pub fn with_unverified(self, reason: impl Into<String>, since: SystemTime, is_final: bool) -> Self {
        let reason = reason.into();
        self.update(|inner| inner.unverified = Some(Unverified { reason, since, is_final }))
    }

    /// Returns the token marked as verified, which reverts [`with_unverified`](Self::with_unverified).
    pub fn into_verified(self) -> Self {
        self.update(|inner| inner.unverified = None)
    }

    /// Returns the token without its refresh token.
    pub fn without_refresh_token(self) -> Self {
        self.update(|inner| inner.refresh_token = None)
    }

    fn update(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the secret text of the token.
    pub fn secret(&self) -> &Secret {
        &self.0.secret
    }

    /// Returns the type of the token (RFC 6749, section 7.1).
    pub fn token_type(&self) -> &str {
        &self.0.token_type
    }

    /// Returns the lifetime of the token.
    pub fn lifetime(&self) -> Lifetime {
        self.0.lifetime
    }

    /// Returns the expiry that the issuer or the token itself specifies, or `None` if neither does. Unlike
    /// [`expires_at`](Self::expires_at), this is never the [fallback](crate::ExpiryPolicyBuilder::with_fallback) of a
    /// policy.
    pub fn specified_expiry(&self) -> Option<SystemTime> {
        if self.0.is_expiry_assumed { self.0.not_after } else { self.expires_at().or_else(|| self.jwt_expiry()) }
    }

    /// Returns the time at which the token expires, or `None` if it does not expire or its expiry is unknown.
    pub fn expires_at(&self) -> Option<SystemTime> {
        match self.0.lifetime {
            Lifetime::Until(time) => Some(self.0.not_after.map_or(time, |not_after| not_after.min(time))),
            Lifetime::Unspecified | Lifetime::Unlimited => self.0.not_after,
        }
    }

    /// Returns the expiry that the token itself contains, if it is a JWT with an `exp` claim (RFC 7519, section 4.1.4).
    /// The signature of the JWT is not verified.
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
        crate::token::expiry::jwt_expiry(&self.0.secret)
    }

    /// Returns the time before which the token counts as expired, if one is set.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.0.not_before
    }

    /// Returns the upper bound for the expiry, if one is set.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.0.not_after
    }

    /// Returns the time from which the token should be refreshed, if one is set.
    pub fn refresh_at(&self) -> Option<SystemTime> {
        self.0.refresh_at
    }

    /// Returns the scopes of the token, as specified by its issuer, in alphabetical order.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.scopes.iter().map(String::as_str)
    }

    /// Returns the ID token that was issued with the token.
    pub fn id_token(&self) -> Option<&Secret> {
        self.0.id_token.as_ref()
    }

    /// Returns the refresh token that was issued with the token.
    pub fn refresh_token(&self) -> Option<&Secret> {
        self.0.refresh_token.as_ref()
    }

    /// Returns the client that the refresh token was issued to, if one is set.
    pub fn client_id(&self) -> Option<&str> {
        self.0.client_id.as_deref()
    }

    /// Returns the reason why the token is unverified, or `None` if it may be used.
    pub fn unverified_reason(&self) -> Option<&str> {
        self.0.unverified.as_ref().map(|unverified| unverified.reason.as_str())
    }

    pub(crate) fn unverified(&self) -> Option<&Unverified> {
        self.0.unverified.as_ref()
    }

    pub(crate) fn with_unverified_record(self, unverified: Option<Unverified>) -> Self {
        self.update(|inner| inner.unverified = unverified)
    }

    /// Returns true if the secrets of both tokens are equal. Other properties are not compared.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.secret == other.0.secret
    }
}

/// Returns true if a token type is `Bearer`. Token types are case-insensitive (RFC 6749, section 5.1).
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
