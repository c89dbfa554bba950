//! The header of a token, which its sender writes. It chooses among what was decided beforehand, in
//! this order:
//!
//! 1. It is one JSON object, and states nothing twice.
//! 2. `crit` lists extensions that must be understood (RFC 7515, section 4.1.11). We understand none,
//!    and an empty list is not allowed, so any `crit` is refused; and `b64` (RFC 7797), which changes
//!    what is signed, even where `crit` does not announce it.
//! 3. `jwk`, `jku`, `x5u` and `x5c` name a key or where to get it. Such keys prove nothing (RFC 8725,
//!    section 3.10). They could be ignored, but an honest issuer does not send them: refused.
//! 4. `typ` may be absent, `JWT` or `at+jwt` (RFC 9068, section 2.1), also in full as
//!    `application/at+jwt`, in any case. All others are tokens for something else (RFC 8725, section 3.11).
//! 5. `alg` must be one of the algorithms that the verifier was set up with.
//! 6. `kid` must be there, although RFC 7515 makes it optional: without it one would have to try keys.
//!
//! Other members are ignored, as RFC 7515, section 4, demands.

use serde_json::Value;

use super::JwtAlgorithm;
use super::error::{JwtError, JwtProblem};
use crate::json::{self, Object};

const EXTENSIONS: [&str; 2] = ["crit", "b64"];
const KEY_SOURCES: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

pub(super) struct Header {
    pub(super) algorithm: JwtAlgorithm,
    pub(super) kid: String,
}

impl Header {
    /// Reads a header, if it complies with the list above.
    pub(super) fn read(bytes: &[u8], allowed: &[JwtAlgorithm]) -> Result<Self, JwtError> {
        let members = json::object(bytes).map_err(|fault| JwtProblem::in_json(&fault, JwtProblem::Header))?;
        if EXTENSIONS.iter().any(|name| members.contains_key(*name)) {
            return Err(JwtProblem::Extension.into());
        }
        if KEY_SOURCES.iter().any(|name| members.contains_key(*name)) {
            return Err(JwtProblem::ForeignKey.into());
        }
        if !is_of_type(&members) {
            return Err(JwtProblem::Type.into());
        }
        let name = members.get("alg").and_then(Value::as_str).ok_or(JwtProblem::Header)?;
        let algorithm = allowed.iter().find(|algorithm| algorithm.name() == name);
        let algorithm = *algorithm.ok_or_else(|| JwtError::algorithm(allowed))?;
        match members.get("kid") {
            Some(Value::String(kid)) => Ok(Self { algorithm, kid: kid.clone() }),
            Some(_) => Err(JwtProblem::Header.into()),
            None => Err(JwtProblem::NoKeyId.into()),
        }
    }
}

fn is_of_type(members: &Object) -> bool {
    members.get("typ").is_none_or(|typ| {
        let typ = typ.as_str();
        typ.is_some_and(|typ| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)))
    })
}
