//! The expiry of tokens, and the time of their refresh.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::{AccessToken, Lifetime, Secret, TokenError};

/// The maximum fallback: a year.
const MAX_FALLBACK: Duration = Duration::from_secs(365 * 24 * 3600);

/// The maximum size of a JWT that is parsed, in bytes.
const MAX_JWT_BYTES: usize = 64 * 1024;

/// A policy for the expiry and the refresh of tokens.
///
/// The expiry of a token without a stated one is that of its JWT (`exp`), or else that of its id token. Without either,
/// the token expires after the [fallback](ExpiryPolicyBuilder::with_fallback).
///
/// A token is refreshed in a window before its expiry. The window is as long as the
/// [buffer](ExpiryPolicyBuilder::with_buffer), but at most a [fraction](ExpiryPolicyBuilder::with_fraction) of the
/// lifetime, so that a token of one minute is not refreshed on every call. The
/// [jitter](ExpiryPolicyBuilder::with_jitter) shortens the window randomly, so that many processes do not refresh at
/// the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpiryPolicy {
    fallback: Duration,
    buffer: Duration,
    fraction: f64,
    jitter: f64,
    least: Duration,
}

/// A builder for [`ExpiryPolicy`].
#[derive(Clone, Copy, Debug)]
pub struct ExpiryPolicyBuilder(ExpiryPolicy);

/// The error of an invalid [`ExpiryPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpiryPolicyError {
    /// A token without a stated expiry would be refreshed immediately.
    #[error("the buffer ({buffer:?}) must be shorter than the fallback ({fallback:?})")]
    BufferSwallowsFallback {
        /// The configured buffer.
        buffer: Duration,
        /// The configured fallback.
        fallback: Duration,
    },
    /// The fallback is longer than a year.
    #[error("the fallback must be at most a year: declare tokens without expiry as unlimited")]
    Fallback,
    /// The fraction is 0 or less, or 1 or more.
    #[error("the fraction of the lifetime must be above 0 and below 1")]
    Fraction,
    /// The jitter is not between 0 and 1.
    #[error("the jitter must be from 0 to 1")]
    Jitter,
}

impl Default for ExpiryPolicy {
    fn default() -> Self {
        Self {
            fallback: Duration::from_secs(300),
            buffer: Duration::from_secs(60),
            fraction: 0.25,
            jitter: 0.2,
            least: Duration::ZERO,
        }
    }
}

impl ExpiryPolicy {
    /// Returns a builder with a fallback of 300 s, a buffer of 60 s, a quarter of the lifetime and a jitter of 0.2.
    pub fn builder() -> ExpiryPolicyBuilder {
        ExpiryPolicyBuilder(Self::default())
    }

    /// Treats tokens that expire within `least` as expired, so that they are replaced before they are served. If the
    /// provider's tokens are shorter-lived, it is called every time.
    pub fn with_min_remaining(mut self, least: Duration) -> Self {
        self.least = least;
        self
    }

    /// Returns the token with its expiry and its refresh time. `random` is from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if the token has expired already.
    pub(crate) fn settle(&self, token: AccessToken, now: SystemTime, random: f64) -> Result<AccessToken, TokenError> {
        let mut is_assumed = token.is_assumed();
        let stated = match token.lifetime() {
            Lifetime::Unlimited => None,
            Lifetime::Until(end) => Some(end),
            Lifetime::Unstated => {
                let in_token = jwt_expiry(token.secret()).or_else(|| token.id_token().and_then(jwt_expiry));
                is_assumed = in_token.is_none();
                Some(in_token.unwrap_or(now + self.fallback))
            }
        };
        let Some(end) = [stated, token.not_after()].into_iter().flatten().min() else {
            return Ok(token.with_refresh_at(None));
        };
        let lifetime = end.duration_since(now).ok().filter(|lifetime| !lifetime.is_zero());
        let lifetime = lifetime.ok_or(TokenError::malformed(
            "it had already expired when it was received: check the cache of its provider, and the clock of this machine",
        ))?;
        let window = self.buffer.min(lifetime.mul_f64(self.fraction)).mul_f64(1.0 - self.jitter * random);
        // A past time would start a refresh on every read.
        let stated = token.refresh_at().filter(|moment| *moment > now && *moment < end);
        // Not before half of the lifetime, so that a short-lived token is not refreshed as soon as it is obtained.
        let refresh_at = stated.unwrap_or(end - window).max(end - lifetime / 2);
        Ok(token.with_expires_at(end).with_assumption(is_assumed).with_refresh_at(Some(refresh_at)))
    }

    /// Returns the token with its expiry and its refresh time, as a [`TokenSource`](crate::TokenSource) stores it. Use
    /// it to store the token of a login in a cache without a source.
    ///
    /// # Errors
    ///
    /// [`TokenError::is_malformed`] if the token had expired at `now`.
    pub fn settled(&self, token: AccessToken, now: SystemTime) -> Result<AccessToken, TokenError> {
        self.settle(token, now, fastrand::f64())
    }

    pub(crate) fn is_fresh(&self, token: &AccessToken, now: SystemTime) -> bool {
        self.freshness(token, now) == Freshness::Fresh
    }

    /// Returns the freshness of a token.
    pub(crate) fn freshness(&self, token: &AccessToken, now: SystemTime) -> Freshness {
        if token.unverified().is_some() || token.not_before().is_some_and(|not_before| now < not_before) {
            return Freshness::Expired;
        }
        let Some(end) = token.expires_at() else { return Freshness::Fresh };
        // A custom cache may not preserve the refresh time.
        let refresh_at = token.refresh_at().unwrap_or_else(|| end.checked_sub(self.buffer).unwrap_or(end));
        if now.checked_add(self.least).is_none_or(|moment| end <= moment) {
            Freshness::Expired
        } else if refresh_at <= now {
            Freshness::Stale
        } else {
            Freshness::Fresh
        }
    }
}

impl ExpiryPolicyBuilder {
    /// Sets the lifetime of a token without a stated expiry, if neither it nor its id token is a JWT with `exp`. The
    /// default is 300 s, the maximum a year. It must be longer than the buffer.
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
        let ExpiryPolicy { fallback, buffer, fraction, jitter, least: _ } = self.0;
        if buffer >= fallback {
            return Err(ExpiryPolicyError::BufferSwallowsFallback { buffer, fallback });
        }
        if fallback > MAX_FALLBACK {
            return Err(ExpiryPolicyError::Fallback);
        }
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(ExpiryPolicyError::Fraction);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(ExpiryPolicyError::Jitter);
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

/// Returns the `exp` claim of a JWT (RFC 7519, section 4.1.4) without verification: the issuer of the token also
/// decides on its expiry.
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
    moment(claims.exp)
}

/// Converts seconds since 1970, which may have a fraction, to a time. Returns `None` if they are negative or too large.
pub(crate) fn moment(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}
