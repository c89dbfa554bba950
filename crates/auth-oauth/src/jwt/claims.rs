use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::problem::JwtProblem;
use super::refusal::Refusal;
use crate::json::{self, Object};

/// The maximum expiry, in seconds since 1970: the end of the year 9999, which is the latest time of RFC 3339. A token
/// that expires later is refused.
const MAX_EXPIRY: f64 = 253_402_300_799.0;

/// The claims of a verified token. Only a [`JwtVerifier`](crate::JwtVerifier) creates them.
///
/// `Debug` shows the names of the claims, but not their values.
#[derive(Clone)]
#[non_exhaustive]
pub struct Claims {
    /// The subject of the token.
    pub sub: String,
    /// The organization that the token is limited to.
    pub org_id: Option<String>,
    scopes: Vec<String>,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    members: Object,
}

impl Claims {
    /// Parses the claims of a token with a valid signature, and checks their types.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let members = json::parse_object(bytes)
            .map_err(|error| JwtProblem::from_json_error(&error, JwtProblem::InvalidClaims))?;
        let sub =
            optional_string(&members, "sub")?.filter(|sub| !sub.is_empty()).ok_or_else(|| invalid_claim("sub"))?;
        let exp = numeric_date(&members, "exp")?.ok_or_else(|| missing_claim("exp"))?;
        if exp > MAX_EXPIRY {
            return Err(invalid_claim("exp"));
        }
        Ok(Self {
            sub: sub.to_owned(),
            org_id: optional_string(&members, "org_id")?.map(str::to_owned),
            scopes: scopes(&members)?,
            exp,
            nbf: numeric_date(&members, "nbf")?,
            iat: numeric_date(&members, "iat")?,
            members,
        })
    }

    /// Returns the time at which the token expires, or `None` if it is out of the range of `SystemTime`.
    pub fn expires_at(&self) -> Option<SystemTime> {
        system_time(self.exp)
    }

    /// Returns the time at which the token was issued, if the token contains it (`iat`).
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.iat.and_then(system_time)
    }

    /// Returns the scopes of the token (`scope`: a string according to RFC 8693, section 4.2, or a list).
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Returns the OAuth client that the token was issued to (`client_id` according to RFC 9068, section 2.2, or
    /// `azp`).
    pub fn client_id(&self) -> Option<&str> {
        self.text("client_id").or_else(|| self.text("azp"))
    }

    /// Returns the value of the claim `name`, or `None` if it is missing or not a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    pub(super) fn issuer(&self) -> Result<&str, Refusal> {
        optional_string(&self.members, "iss")?.ok_or_else(|| missing_claim("iss"))
    }

    /// Returns the audiences of the token. The claim is a string or a list (RFC 7519, section 4.1.3).
    pub(super) fn audiences(&self) -> Result<Vec<&str>, Refusal> {
        match self.members.get("aud") {
            None | Some(Value::Null) => Err(missing_claim("aud")),
            Some(Value::String(audience)) => Ok(vec![audience]),
            Some(Value::Array(audiences)) => strings(audiences, "aud"),
            Some(_) => Err(invalid_claim("aud")),
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Returns `exp`, `nbf` and `iat` in seconds since 1970. They may be out of the range of `SystemTime`.
    pub(super) fn times(&self) -> (f64, Option<f64>, Option<f64>) {
        (self.exp, self.nbf, self.iat)
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.members.keys().collect();
        formatter.debug_struct("Claims").field("names", &names).finish_non_exhaustive()
    }
}

/// Returns a claim that is a string. `null` is treated like a missing claim.
fn optional_string<'a>(claims: &'a Object, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid_claim(name)),
    }
}

/// Returns a claim that is a `NumericDate`: seconds since 1970, which may be fractional (RFC 7519, section 2).
fn numeric_date(claims: &Object, name: &'static str) -> Result<Option<f64>, Refusal> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| invalid_claim(name)),
    }
}

fn scopes(claims: &Object) -> Result<Vec<String>, Refusal> {
    let scopes = match claims.get("scope") {
        Some(Value::Array(scopes)) => strings(scopes, "scope")?,
        _ => optional_string(claims, "scope")?.unwrap_or_default().split_ascii_whitespace().collect(),
    };
    Ok(scopes.into_iter().map(str::to_owned).collect())
}

fn strings<'a>(values: &'a [Value], name: &'static str) -> Result<Vec<&'a str>, Refusal> {
    values.iter().map(|value| value.as_str().ok_or_else(|| invalid_claim(name))).collect()
}

fn missing_claim(name: &'static str) -> Refusal {
    Refusal::for_claim(JwtProblem::MissingClaim, name)
}

fn invalid_claim(name: &'static str) -> Refusal {
    Refusal::for_claim(JwtProblem::InvalidClaims, name)
}

fn system_time(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}
