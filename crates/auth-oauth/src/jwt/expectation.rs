use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Claims;
use super::error::JwtProblem;
use super::refusal::Refusal;

/// Claims that only an id token has (`OpenID` Connect Core, sections 2 and 3.3.2.11; FAPI 1.0, part 2,
/// section 5.1).
const OF_ID_TOKENS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// What the claims of a token must be.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    pub(super) issuer: String,
    pub(super) audience: String,
    /// Clocks may differ by this much before a token counts as expired or not yet valid.
    pub(super) leeway: Duration,
}

impl Expectation {
    /// Checks, in this order, that
    ///
    /// 1. this issuer made the token, to the letter (RFC 8414, section 2: nothing is normalised);
    /// 2. it is for this audience, among others or alone;
    /// 3. it is no id token. One is made for a client and not for a service, so that its `aud` gives it
    ///    away already; where a client has the name of its service, the claims of id tokens do;
    /// 4. it has not expired, is valid already, and was not issued in the future.
    pub(super) fn check(&self, claims: &Claims, now: SystemTime) -> Result<(), Refusal> {
        if claims.issuer()? != self.issuer {
            return Err(Refusal::of(JwtProblem::Issuer, "iss"));
        }
        if !claims.audiences()?.contains(&self.audience.as_str()) {
            return Err(Refusal::of(JwtProblem::Audience, "aud"));
        }
        if let Some(name) = OF_ID_TOKENS.iter().find(|name| claims.has(name)) {
            return Err(Refusal::of(JwtProblem::IdToken, name));
        }
        self.check_period(claims.period(), now)
    }

    /// Checks the times last, so that a token with a wrong time has no other fault. Times are floating-point seconds:
    /// no date is out of their range.
    fn check_period(&self, (exp, nbf, iat): (f64, Option<f64>, Option<f64>), now: SystemTime) -> Result<(), Refusal> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        if exp + leeway <= now {
            return Err(Refusal::of_time(JwtProblem::Expired, "exp", now - exp));
        }
        for (problem, claim, time) in [(JwtProblem::NotYetValid, "nbf", nbf), (JwtProblem::IssuedInFuture, "iat", iat)]
        {
            if let Some(time) = time.filter(|time| *time > now + leeway) {
                return Err(Refusal::of_time(problem, claim, time - now));
            }
        }
        Ok(())
    }
}
