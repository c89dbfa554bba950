use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::problem::JwtProblem;
use super::refusal::Refusal;
use crate::json::{self, Object};

/// The end of the year 9999, the latest time of RFC 3339, in seconds since 1970. A token that expires later is refused.
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
    all: Object,
}

impl Claims {
    /// Parses the claims of a token with a valid signature, and checks their types.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let all = json::object(bytes).map_err(|fault| JwtProblem::in_json(&fault, JwtProblem::InvalidClaims))?;
        let sub = optional_text(&all, "sub")?.filter(|sub| !sub.is_empty()).ok_or_else(|| invalid("sub"))?;
        let exp = seconds(&all, "exp")?.ok_or_else(|| missing("exp"))?;
        if exp > MAX_EXPIRY {
            return Err(invalid("exp"));
        }
        Ok(Self {
            sub: sub.to_owned(),
            org_id: optional_text(&all, "org_id")?.map(str::to_owned),
            scopes: scopes(&all)?,
            exp,
            nbf: seconds(&all, "nbf")?,
            iat: seconds(&all, "iat")?,
            all,
        })
    }

    /// Returns the time at which the token expires, or `None` if it is out of the range of `SystemTime`.
    pub fn expires_at(&self) -> Option<SystemTime> {
        time(self.exp)
    }

    /// Returns the time at which the token was issued, if the token contains it (`iat`).
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.iat.and_then(time)
    }

    /// Returns the scopes of the token (`scope`, as a text according to RFC 8693, section 4.2, or as a list).
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Returns the OAuth client that the token was issued to (`client_id` according to RFC 9068, section 2.2, or `azp`).
    pub fn client_id(&self) -> Option<&str> {
        self.text("client_id").or_else(|| self.text("azp"))
    }

    /// Returns the value of the claim `name`, or `None` if it is missing or not a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name)?.as_str()
    }

    pub(super) fn issuer(&self) -> Result<&str, Refusal> {
        optional_text(&self.all, "iss")?.ok_or_else(|| missing("iss"))
    }

    /// Returns the audiences of the token. The claim is a text or a list (RFC 7519, section 4.1.3).
    pub(super) fn audiences(&self) -> Result<Vec<&str>, Refusal> {
        match self.all.get("aud") {
            None | Some(Value::Null) => Err(missing("aud")),
            Some(Value::String(audience)) => Ok(vec![audience]),
            Some(Value::Array(audiences)) => texts(audiences, "aud"),
            Some(_) => Err(invalid("aud")),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// Returns `exp`, `nbf` and `iat` in seconds since 1970, because they may be out of the range of `SystemTime`.
    pub(super) fn period(&self) -> (f64, Option<f64>, Option<f64>) {
        (self.exp, self.nbf, self.iat)
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.all.keys().collect();
        formatter.debug_struct("Claims").field("names", &names).finish_non_exhaustive()
    }
}

/// Returns a claim that is a string. `null` is treated like a missing claim.
fn optional_text<'a>(claims: &'a Object, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(name)),
    }
}

/// Returns a claim that is a `NumericDate`: seconds since 1970, which may be fractional (RFC 7519, section 2).
fn seconds(claims: &Object, name: &'static str) -> Result<Option<f64>, Refusal> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| invalid(name)),
    }
}

fn scopes(claims: &Object) -> Result<Vec<String>, Refusal> {
    let scopes = match claims.get("scope") {
        Some(Value::Array(scopes)) => texts(scopes, "scope")?,
        _ => optional_text(claims, "scope")?.unwrap_or_default().split_ascii_whitespace().collect(),
    };
    Ok(scopes.into_iter().map(str::to_owned).collect())
}

fn texts<'a>(values: &'a [Value], name: &'static str) -> Result<Vec<&'a str>, Refusal> {
    values.iter().map(|value| value.as_str().ok_or_else(|| invalid(name))).collect()
}

fn missing(name: &'static str) -> Refusal {
    Refusal::of(JwtProblem::MissingClaim, name)
}

fn invalid(name: &'static str) -> Refusal {
    Refusal::of(JwtProblem::InvalidClaims, name)
}

fn time(seconds: f64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}
