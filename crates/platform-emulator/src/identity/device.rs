//! Pending device logins (RFC 8628).

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::form::OAuthError;
use crate::random::Random;

pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The lifetime of a device login.
pub(crate) const LIFETIME: Duration = Duration::from_secs(600);

/// The device logins that are not redeemed yet, by their device code.
#[derive(Default)]
pub(crate) struct DeviceLogins(Mutex<HashMap<String, DeviceLogin>>);

struct DeviceLogin {
    user_code: String,
    scope: String,
    /// The id of the user who approved or denied the login.
    user: Option<String>,
    started_at: SystemTime,
    decision: Option<Decision>,
    /// The minimum polling interval of the device. It increases if the device polls too often.
    interval: Duration,
    last_poll: Option<SystemTime>,
}

/// The increase of the interval when a device polls too soon (RFC 8628, section 3.5).
const INTERVAL_INCREASE: Duration = Duration::from_secs(5);

/// The user's decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Approved,
    Denied,
}

/// The codes of a new login.
pub(crate) struct DeviceCodes {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
}

impl DeviceLogins {
    pub(crate) fn start(&self, scope: String, interval: u64, random: &Random, now: SystemTime) -> DeviceCodes {
        let device_code = random.token();
        let letters: String = random.token()[..8].chars().map(consonant).collect();
        let user_code = format!("{}-{}", &letters[..4], &letters[4..]);
        let login = DeviceLogin {
            user_code: user_code.clone(),
            scope,
            user: None,
            started_at: now,
            decision: None,
            interval: Duration::from_secs(interval),
            last_poll: None,
        };
        let mut logins = self.0.lock();
        // Abandoned logins are removed.
        logins.retain(|_, login| now < login.started_at + 2 * LIFETIME);
        logins.insert(device_code.clone(), login);
        DeviceCodes { device_code, user_code }
    }

    /// Records a user's decision on the login with `user_code`. Returns false if no login is pending.
    pub(crate) fn decide(&self, user_code: &str, decision: Decision, user: &str, now: SystemTime) -> bool {
        let mut logins = self.0.lock();
        let pending = logins.values_mut().find(|login| login.has_code(user_code) && login.is_pending(now));
        pending.map(|login| (login.decision, login.user) = (Some(decision), Some(user.to_owned()))).is_some()
    }

    /// Returns the user code of a pending login in its canonical form.
    pub(crate) fn pending_user_code(&self, typed_code: &str, now: SystemTime) -> Option<String> {
        let logins = self.0.lock();
        let pending = logins.values().find(|login| login.has_code(typed_code) && login.is_pending(now))?;
        Some(pending.user_code.clone())
    }

    /// Returns the id of the user who approved a login, and the scope. A device code can be redeemed only once.
    pub(crate) fn redeem(&self, device_code: &str, now: SystemTime) -> Result<(String, String), OAuthError> {
        let mut logins = self.0.lock();
        if let Some(login) = logins.get_mut(device_code).filter(|login| login.is_pending(now)) {
            let is_too_soon = login.last_poll.replace(now).is_some_and(|last_poll| now < last_poll + login.interval);
            if is_too_soon {
                login.interval += INTERVAL_INCREASE;
                return Err(OAuthError::new("slow_down", "the device polls too often"));
            }
            return Err(OAuthError::new("authorization_pending", "the user has not decided yet"));
        }
        let login =
            logins.remove(device_code).ok_or(OAuthError::new("invalid_grant", "unknown or redeemed device code"))?;
        if login.is_expired(now) {
            return Err(OAuthError::new("expired_token", "the login was not approved in time"));
        }
        match (login.decision, login.user) {
            (Some(Decision::Approved), Some(user)) => Ok((user, login.scope)),
            _ => Err(OAuthError::new("access_denied", "the user denied the login")),
        }
    }
}

impl DeviceLogin {
    fn is_expired(&self, now: SystemTime) -> bool {
        self.started_at + LIFETIME <= now
    }

    /// Compares the user code with a code that a user typed. Ignores case and all characters except letters and digits
    /// (RFC 8628, section 6.1).
    fn has_code(&self, typed_code: &str) -> bool {
        let normalize =
            |code: &str| code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
        normalize(typed_code) == normalize(&self.user_code)
    }

    fn is_pending(&self, now: SystemTime) -> bool {
        self.decision.is_none() && !self.is_expired(now)
    }
}

/// Maps a hexadecimal digit to a consonant. Codes of consonants are easy to type and do not contain words (RFC 8628,
/// section 6.1).
fn consonant(digit: char) -> char {
    const CONSONANTS: [char; 16] = ['B', 'C', 'D', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T'];
    digit.to_digit(16).and_then(|digit| CONSONANTS.get(digit as usize)).copied().unwrap_or('Z')
}
