use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Claims;
use super::problem::JwtProblem;
use super::refusal::Refusal;

/// The claims that only an ID token has (`OpenID` Connect Core, sections 2 and 3.3.2.11; FAPI 1.0, part 2, section
/// 5.1).
const ID_TOKEN_CLAIMS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];

/// The expected values of claims.
#[derive(Clone, Debug)]
pub(super) struct ExpectedClaims {
    pub(super) issuer: String,
    pub(super) audience: String,
    /// The organization, if tokens of other organizations are refused.
    pub(super) organization: Option<String>,
    /// The tolerance for clock skew.
    pub(super) leeway: Duration,
}

impl ExpectedClaims {
    /// Checks the claims in this order:
    ///
    /// 1. The issuer is equal to the expected issuer, without normalization (RFC 8414, section 2).
    /// 2. The audiences contain the expected audience.
    /// 3. The token is not an ID token. The audience of an ID token is a client, so an ID token usually fails check 2.
    ///    If the client and the expected audience have the same name, the ID token is recognized by claims that only ID
    ///    tokens have.
    /// 4. If the token contains an organization, it is the expected organization.
    /// 5. The token has not expired, is already valid, and was not issued in the future.
    pub(super) fn check(&self, claims: &Claims, now: SystemTime) -> Result<(), Refusal> {
        if claims.issuer()? != self.issuer {
            return Err(Refusal::for_claim(JwtProblem::WrongIssuer, "iss"));
        }
        if !claims.audiences()?.contains(&self.audience.as_str()) {
            return Err(Refusal::for_claim(JwtProblem::WrongAudience, "aud"));
        }
        if let Some(name) = ID_TOKEN_CLAIMS.iter().find(|name| claims.contains(name)) {
            return Err(Refusal::for_claim(JwtProblem::IdToken, name));
        }
        if let (Some(expected), Some(organization)) = (&self.organization, &claims.org_id)
            && expected != organization
        {
            return Err(Refusal::for_claim(JwtProblem::WrongOrganization, "org_id"));
        }
        self.check_times(claims.times(), now)
    }

    /// Checks the times. This check is the last one, so a token that fails it has no other problem. The times are
    /// compared as floating-point seconds, because they may be out of the range of `SystemTime`.
    fn check_times(&self, (exp, nbf, iat): (f64, Option<f64>, Option<f64>), now: SystemTime) -> Result<(), Refusal> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        if exp + leeway <= now {
            return Err(Refusal::for_time(JwtProblem::Expired, "exp", now - exp));
        }
        for (problem, claim, time) in [(JwtProblem::NotYetValid, "nbf", nbf), (JwtProblem::IssuedInFuture, "iat", iat)]
        {
            if let Some(time) = time.filter(|time| *time > now + leeway) {
                return Err(Refusal::for_time(problem, claim, time - now));
            }
        }
        Ok(())
    }
}
