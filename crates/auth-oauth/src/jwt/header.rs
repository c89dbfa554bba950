//! The header of a token. Its sender controls it, so it only selects among configured options. The checks in order:
//!
//! 1. The header is one JSON object without duplicate members.
//! 2. `crit` lists extensions that must be understood (RFC 7515, section 4.1.11). No extensions are supported, and an
//!    empty list is not allowed, so any `crit` is refused. `b64` (RFC 7797) is refused even if `crit` does not list it,
//!    because it changes the signed bytes.
//! 3. `jwk`, `jku`, `x5u` and `x5c` contain or reference a key. Such keys prove nothing (RFC 8725, section 3.10). An
//!    honest issuer does not send them, so they are refused and not ignored.
//! 4. `typ` may be absent, `JWT` or `at+jwt` (RFC 9068, section 2.1), or the full form `application/at+jwt`, in any
//!    case. Any other type is a token for another purpose (RFC 8725, section 3.11).
//! 5. `alg` must be one of the accepted algorithms of the verifier.
//! 6. `kid` is required, although RFC 7515 makes it optional. Without it, several keys would have to be tried.
//!
//! Other members are ignored, as RFC 7515, section 4, requires.

use serde_json::Value;

use super::JwtAlgorithm;
use super::error::JwtError;
use super::problem::JwtProblem;
use crate::json::{self, Object};

const EXTENSIONS: [&str; 2] = ["crit", "b64"];
const KEY_SOURCES: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

pub(super) struct Header {
    pub(super) algorithm: JwtAlgorithm,
    pub(super) kid: String,
}

impl Header {
    /// Parses a header that passes the checks above.
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
