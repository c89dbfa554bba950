use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Claims;
use super::problem::JwtProblem;
use super::refusal::Refusal;

/// The claims that only an ID token has (`OpenID` Connect Core, sections 2 and 3.3.2.11; FAPI 1.0, part 2, section
/// 5.1).
const OF_ID_TOKENS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// The expected values of claims.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    pub(super) issuer: String,
    pub(super) audience: String,
    /// The organization of a tenant, if only one is accepted.
    pub(super) organization: Option<String>,
    /// The tolerance for clock skew.
    pub(super) leeway: Duration,
}

impl Expectation {
    /// Checks the claims in this order:
    ///
    /// 1. The issuer matches exactly (RFC 8414, section 2: no normalization).
    /// 2. The audiences contain the expected audience.
    /// 3. The token is not an ID token. An ID token is for a client and not for a service, so its `aud` usually
    ///    differs. If a client has the name of its service, the claims of ID tokens identify it.
    /// 4. The organization, if the token states one, is the expected one.
    /// 5. The token has not expired, is already valid, and was not issued in the future.
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
        if let (Some(expected), Some(stated)) = (&self.organization, &claims.org_id)
            && expected != stated
        {
            return Err(Refusal::of(JwtProblem::Organization, "org_id"));
        }
        self.check_period(claims.period(), now)
    }

    /// Checks the times last, so that a token with a wrong time has no other problem. Times are floating-point seconds,
    /// so no date is out of range.
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
