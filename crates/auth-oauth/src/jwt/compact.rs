use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::JwtProblem;

/// The maximum length of a token, in bytes. Servers do not accept larger headers. The length is checked before the
/// token is decoded.
const MAX_LENGTH: usize = 16 * 1024;

/// A signed token in compact serialization (RFC 7515, section 7.1), decoded but not verified.
pub(super) struct CompactToken<'a> {
    /// The signed part of the token: the encoded header and claims.
    pub(super) message: &'a str,
    pub(super) header: Vec<u8>,
    pub(super) claims: Vec<u8>,
    /// The signature, still encoded.
    pub(super) signature: &'a str,
}

impl<'a> CompactToken<'a> {
    /// Splits a token. Each token has exactly one valid encoding, because padding, whitespace and other encodings of
    /// the same bytes are errors.
    pub(super) fn split(token: &'a str) -> Result<Self, JwtProblem> {
        if token.len() > MAX_LENGTH {
            return Err(JwtProblem::TooLarge);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(JwtProblem::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(JwtProblem::Malformed)?;
        decode(signature)?;
        // If there is another dot, decoding the claims fails, because a dot is not valid in base64url.
        Ok(Self { message, header: decode(header)?, claims: decode(claims)?, signature })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtProblem> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtProblem::Malformed)
}
