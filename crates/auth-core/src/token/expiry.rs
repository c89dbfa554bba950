//! The expiry of tokens, and the time of their refresh.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::{AccessToken, Lifetime, Secret, TokenError};

/// The maximum fallback: one year.
const MAX_FALLBACK: Duration = Duration::from_secs(365 * 24 * 3600);

/// The maximum size of a JWT that is parsed, in bytes.
const MAX_JWT_BYTES: usize = 64 * 1024;

/// A policy for the expiry and the refresh of tokens.
///
/// If the issuer does not specify the lifetime of a token, the policy uses the `exp` claim of the access token, or else
/// that of the ID token. Without either, the token expires after the [fallback](ExpiryPolicyBuilder::with_fallback).
///
/// A token is refreshed in a window before its expiry. The window is as long as the
/// [buffer](ExpiryPolicyBuilder::with_buffer), but at most a [fraction](ExpiryPolicyBuilder::with_fraction) of the
/// lifetime, so that a token with a lifetime of one minute is not refreshed on every call. The
/// [jitter](ExpiryPolicyBuilder::with_jitter) shortens the window randomly, so that many processes do not refresh at
/// the same time.
///
/// ```
/// use std::time::Duration;
/// use auth_core::ExpiryPolicy;
///
/// let policy = ExpiryPolicy::builder().with_buffer(Duration::from_secs(30)).with_jitter(0.0).build()?;
/// # Ok::<(), auth_core::ExpiryPolicyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpiryPolicy {
    fallback: Duration,
    buffer: Duration,
    fraction: f64,
    jitter: f64,
    min_remaining: Duration,
}

/// A builder for [`ExpiryPolicy`].
#[derive(Clone, Copy, Debug)]
pub struct ExpiryPolicyBuilder(ExpiryPolicy);

/// The error of an invalid [`ExpiryPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpiryPolicyError {
    /// The buffer is not shorter than the fallback, so a token without a specified expiry would be refreshed
    /// immediately.
    #[error("the buffer ({buffer:?}) must be shorter than the fallback ({fallback:?})")]
    BufferNotBelowFallback {
        /// The configured buffer.
        buffer: Duration,
        /// The configured fallback.
        fallback: Duration,
    },
    /// The fallback is longer than a year.
    #[error("the fallback must be at most one year: use `Lifetime::Unlimited` for tokens that do not expire")]
    FallbackTooLong,
    /// The fraction is not greater than 0 and less than 1.
    #[error("the fraction of the lifetime must be greater than 0 and less than 1")]
    InvalidFraction,
    /// The jitter is not between 0 and 1.
    #[error("the jitter must be between 0 and 1")]
    InvalidJitter,
}

impl Default for ExpiryPolicy {
    fn default() -> Self {
        Self {
            fallback: Duration::from_secs(300),
            buffer: Duration::from_secs(60),
            fraction: 0.25,
            jitter: 0.2,
            min_remaining: Duration::ZERO,
        }
    }
}

impl ExpiryPolicy {
    /// Returns a builder with a fallback of 300 s, a buffer of 60 s, a quarter of the lifetime and a jitter of 0.2.
    pub fn builder() -> ExpiryPolicyBuilder {
        ExpiryPolicyBuilder(Self::default())
    }

    /// Sets the minimum remaining lifetime of a served token. A cached token that expires earlier is replaced before it
    /// is served. If the provider only returns tokens with a shorter lifetime, every call obtains a new one.
    pub fn with_min_remaining(mut self, min_remaining: Duration) -> Self {
        self.min_remaining = min_remaining;
        self
    }

    /// Sets the expiry and the refresh time of a token. `random` is a random number from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if the token has expired at `now`.
    pub(crate) fn apply_with_random(
        &self,
        token: AccessToken,
        now: SystemTime,
        random: f64,
    ) -> Result<AccessToken, TokenError> {
        let mut is_expiry_assumed = token.is_expiry_assumed();
        let expiry = match token.lifetime() {
            Lifetime::Unlimited => None,
            Lifetime::Until(time) => Some(time),
            Lifetime::Unspecified => {
                let expiry_in_token = jwt_expiry(token.secret()).or_else(|| token.id_token().and_then(jwt_expiry));
                is_expiry_assumed = expiry_in_token.is_none();
                Some(expiry_in_token.unwrap_or(now + self.fallback))
            }
        };
        let Some(expires_at) = [expiry, token.not_after()].into_iter().flatten().min() else {
            return Ok(token.with_refresh_at(None));
        };
        let lifetime = expires_at.duration_since(now).ok().filter(|lifetime| !lifetime.is_zero());
        let lifetime = lifetime.ok_or(TokenError::malformed(
            "it had expired when it was received: check the cache of its provider, and the clock of this machine",
        ))?;
        let window = self.buffer.min(lifetime.mul_f64(self.fraction)).mul_f64(1.0 - self.jitter * random);
        // A refresh time of the provider is ignored if it is in the past, because every read would start a refresh.
        let provider_refresh_at = token.refresh_at().filter(|refresh_at| *refresh_at > now && *refresh_at < expires_at);
        // A token is not refreshed in the first half of its lifetime. Otherwise, a short-lived token would be refreshed
        // as soon as it is obtained.
        let refresh_at = provider_refresh_at.unwrap_or(expires_at - window).max(expires_at - lifetime / 2);
        Ok(token.with_expires_at(expires_at).with_expiry_assumed(is_expiry_assumed).with_refresh_at(Some(refresh_at)))
    }

    /// Sets the expiry and the refresh time of a token, as a [`TokenSource`](crate::TokenSource) does before it stores
    /// the token. Use it if you store a token in a cache without a source, such as after a login.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if the token has expired at `now`.
    pub fn apply(&self, token: AccessToken, now: SystemTime) -> Result<AccessToken, TokenError> {
        self.apply_with_random(token, now, fastrand::f64())
    }

    pub(crate) fn is_fresh(&self, token: &AccessToken, now: SystemTime) -> bool {
        self.freshness(token, now) == Freshness::Fresh
    }

    pub(crate) fn freshness(&self, token: &AccessToken, now: SystemTime) -> Freshness {
        if token.unverified().is_some() || token.not_before().is_some_and(|not_before| now < not_before) {
            return Freshness::Expired;
        }
        let Some(expires_at) = token.expires_at() else { return Freshness::Fresh };
        // The refresh time is missing if a custom cache did not store it.
        let default_refresh_at = || expires_at.checked_sub(self.buffer).unwrap_or(expires_at);
        let refresh_at = token.refresh_at().unwrap_or_else(default_refresh_at);
        if now.checked_add(self.min_remaining).is_none_or(|min_expiry| expires_at <= min_expiry) {
            Freshness::Expired
        } else if refresh_at <= now {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }
}

impl ExpiryPolicyBuilder {
    /// Sets the lifetime of a token whose issuer specifies none, if neither the access token nor the ID token is a JWT
    /// with `exp`. The default is 300 s, and the maximum one year. The fallback must be longer than the buffer.
    pub fn with_fallback(mut self, fallback: Duration) -> Self {
        self.0.fallback = fallback;
        self
    }

    /// Sets the maximum time between refresh and expiry. The default is 60 s.
    pub fn with_buffer(mut self, buffer: Duration) -> Self {
        self.0.buffer = buffer;
        self
    }

    /// Sets the maximum time between refresh and expiry as a fraction of the lifetime: greater than 0 and less than 1.
    /// The default is 0.25.
    pub fn with_fraction(mut self, fraction: f64) -> Self {
        self.0.fraction = fraction;
        self
    }

    /// Sets the maximum fraction of the window that is removed at random: 0 to 1. The default is 0.2.
    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.0.jitter = jitter;
        self
    }

    /// Builds the policy.
    ///
    /// # Errors
    ///
    /// A number is out of range, or the buffer is not shorter than the fallback.
    pub fn build(self) -> Result<ExpiryPolicy, ExpiryPolicyError> {
        let ExpiryPolicy { fallback, buffer, fraction, jitter, min_remaining: _ } = self.0;
        if buffer >= fallback {
            return Err(ExpiryPolicyError::BufferNotBelowFallback { buffer, fallback });
        }
        if fallback > MAX_FALLBACK {
            return Err(ExpiryPolicyError::FallbackTooLong);
        }
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(ExpiryPolicyError::InvalidFraction);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(ExpiryPolicyError::InvalidJitter);
        }
        Ok(self.0)
    }
}

/// The freshness of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The token is served.
    Fresh,
    /// The token is served, and refreshed in the background.
    Stale,
    /// The token is not served.
    Expired,
}

/// Returns the `exp` claim of a JWT (RFC 7519, section 4.1.4). The signature is not verified, because only the server
/// that receives the token decides whether it is valid.
pub(crate) fn jwt_expiry(token: &Secret) -> Option<SystemTime> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let mut parts = Some(token.expose()).filter(|text| text.len() <= MAX_JWT_BYTES)?.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    time_from_unix_seconds(claims.exp)
}

/// Converts seconds since 1970, which may be fractional, to a time. Returns `None` if they are negative or too large.
pub(crate) fn time_from_unix_seconds(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}
