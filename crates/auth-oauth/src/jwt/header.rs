//! The header of a token. The sender of the token controls it, so it can only select among configured options. The
//! checks run in this order:
//!
//! 1. The header is a JSON object without duplicate members.
//! 2. There is no `crit`, which lists extensions that the recipient must support (RFC 7515, section 4.1.11), because no
//!    extensions are supported. There is no `b64` (RFC 7797), either, because it changes the signed bytes.
//! 3. There is no `jwk`, `jku`, `x5u` or `x5c`. They contain or reference a key, which an attacker could choose (RFC
//!    8725, section 3.10). Such a token is refused, because the issuer does not send these members.
//! 4. `typ` is missing, `JWT`, `at+jwt` (RFC 9068, section 2.1) or `application/at+jwt`, ignoring case. A token of
//!    another type has another purpose (RFC 8725, section 3.11).
//! 5. `alg` is one of the accepted algorithms of the verifier.
//! 6. There is a `kid`, so that only one key must be tried. RFC 7515 does not require it.
//!
//! Other members are ignored, as RFC 7515, section 4, requires.

use serde_json::Value;

use super::JwtAlgorithm;
use super::error::JwtError;
use super::problem::JwtProblem;
use crate::json::{self, Object};

const EXTENSION_MEMBERS: [&str; 2] = ["crit", "b64"];
const KEY_MEMBERS: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];
const ACCEPTED_TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

pub(super) struct Header {
    pub(super) algorithm: JwtAlgorithm,
    pub(super) kid: String,
}

impl Header {
    /// Parses a header, and applies the checks above.
    pub(super) fn parse(bytes: &[u8], accepted_algorithms: &[JwtAlgorithm]) -> Result<Self, JwtError> {
        let members = json::parse_object(bytes)
            .map_err(|error| JwtProblem::from_json_error(&error, JwtProblem::InvalidHeader))?;
        if EXTENSION_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return Err(JwtProblem::UnsupportedExtension.into());
        }
        if KEY_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return Err(JwtProblem::EmbeddedKey.into());
        }
        if !has_accepted_type(&members) {
            return Err(JwtProblem::WrongType.into());
        }
        let name = members.get("alg").and_then(Value::as_str).ok_or(JwtProblem::InvalidHeader)?;
        let algorithm = accepted_algorithms.iter().find(|algorithm| algorithm.name() == name);
        let algorithm = *algorithm.ok_or_else(|| JwtError::unaccepted_algorithm(accepted_algorithms))?;
        match members.get("kid") {
            Some(Value::String(kid)) => Ok(Self { algorithm, kid: kid.clone() }),
            Some(_) => Err(JwtProblem::InvalidHeader.into()),
            None => Err(JwtProblem::MissingKeyId.into()),
        }
    }
}

fn has_accepted_type(members: &Object) -> bool {
    members.get("typ").is_none_or(|typ| {
        let typ = typ.as_str();
        typ.is_some_and(|typ| ACCEPTED_TYPES.iter().any(|accepted| typ.eq_ignore_ascii_case(accepted)))
    })
}
