use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::JwtProblem;

/// The longest token, in bytes. Servers accept no larger headers; it is checked before anything is decoded.
const MAX_LENGTH: usize = 16 * 1024;

/// A signed token in its compact form (RFC 7515, section 7.1), decoded but not believed.
pub(super) struct Compact<'a> {
    /// What is signed: header and claims, encoded.
    pub(super) message: &'a str,
    pub(super) header: Vec<u8>,
    pub(super) claims: Vec<u8>,
    /// Still encoded.
    pub(super) signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes a token apart. Padding, whitespace and other spellings of the same bytes are refused, so
    /// that a token can be written in one way only.
    pub(super) fn split(token: &'a str) -> Result<Self, JwtProblem> {
        if token.len() > MAX_LENGTH {
            return Err(JwtProblem::TooLarge);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(JwtProblem::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(JwtProblem::Malformed)?;
        decode(signature)?;
        // A further dot is not base64 either.
        Ok(Self { message, header: decode(header)?, claims: decode(claims)?, signature })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtProblem> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtProblem::Malformed)
}
