//! Pending device logins (RFC 8628).

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::form::Refusal;
use crate::random::Random;

pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The lifetime of a device login.
pub(crate) const LIFETIME: Duration = Duration::from_secs(600);

/// All device logins that are not redeemed yet.
#[derive(Default)]
pub(crate) struct Devices(Mutex<HashMap<String, Login>>);

struct Login {
    user_code: String,
    scope: String,
    /// The user who decided.
    user: Option<String>,
    started: SystemTime,
    decision: Option<Decision>,
    /// The minimum polling interval of the device. It increases if the device polls too often.
    interval: Duration,
    asked: Option<SystemTime>,
}

/// The increase of the interval when a device polls too soon (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// The user's decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Approved,
    Denied,
}

/// The codes of a new login.
pub(crate) struct Started {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
}

impl Devices {
    pub(crate) fn start(&self, scope: String, interval: u64, random: &Random, now: SystemTime) -> Started {
        let device_code = random.token();
        let letters: String = random.token()[..8].chars().map(letter).collect();
        let user_code = format!("{}-{}", &letters[..4], &letters[4..]);
        let login = Login {
            user_code: user_code.clone(),
            scope,
            user: None,
            started: now,
            decision: None,
            interval: Duration::from_secs(interval),
            asked: None,
        };
        let mut logins = self.0.lock();
        // Removes abandoned logins.
        logins.retain(|_, login| now < login.started + 2 * LIFETIME);
        logins.insert(device_code.clone(), login);
        Started { device_code, user_code }
    }

    /// Records a user's decision on the login with `user_code`. Returns false if no login is pending.
    pub(crate) fn decide(&self, user_code: &str, decision: Decision, user: &str, now: SystemTime) -> bool {
        let mut logins = self.0.lock();
        let open = logins.values_mut().find(|login| login.has_code(user_code) && login.is_open(now));
        open.map(|login| (login.decision, login.user) = (Some(decision), Some(user.to_owned()))).is_some()
    }

    /// Returns the canonical code of a login that is still pending.
    pub(crate) fn open_code(&self, typed: &str, now: SystemTime) -> Option<String> {
        let logins = self.0.lock();
        let open = logins.values().find(|login| login.has_code(typed) && login.is_open(now))?;
        Some(open.user_code.clone())
    }

    /// Returns the user who approved a login, and its scope. This succeeds once.
    pub(crate) fn redeem(&self, device_code: &str, now: SystemTime) -> Result<(String, String), Refusal> {
        let mut logins = self.0.lock();
        if let Some(login) = logins.get_mut(device_code).filter(|login| login.is_open(now)) {
            let too_soon = login.asked.replace(now).is_some_and(|asked| now < asked + login.interval);
            if too_soon {
                login.interval += SLOWER;
                return Err(Refusal::new("slow_down", "the device polls too often"));
            }
            return Err(Refusal::new("authorization_pending", "the user has not decided yet"));
        }
        let login =
            logins.remove(device_code).ok_or(Refusal::new("invalid_grant", "unknown or redeemed device code"))?;
        if login.is_expired(now) {
            return Err(Refusal::new("expired_token", "the login was not approved in time"));
        }
        match (login.decision, login.user) {
            (Some(Decision::Approved), Some(user)) => Ok((user, login.scope)),
            _ => Err(Refusal::new("access_denied", "the user denied the login")),
        }
    }
}

impl Login {
    fn is_expired(&self, now: SystemTime) -> bool {
        self.started + LIFETIME <= now
    }

    /// Compares a code without dashes and case, as typed by users (RFC 8628, section 6.1).
    fn has_code(&self, typed: &str) -> bool {
        let bare =
            |code: &str| code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
        bare(typed) == bare(&self.user_code)
    }

    fn is_open(&self, now: SystemTime) -> bool {
        self.decision.is_none() && !self.is_expired(now)
    }
}

/// Maps a hexadecimal digit to a consonant, so that codes are easy to type and spell no words (RFC 8628, section 6.1).
fn letter(digit: char) -> char {
    const CONSONANTS: [char; 16] = ['B', 'C', 'D', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T'];
    digit.to_digit(16).and_then(|digit| CONSONANTS.get(digit as usize)).copied().unwrap_or('Z')
}
