use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::problem::JwtProblem;

/// The maximum length of a token, in bytes. Servers accept no larger headers. It is checked before anything is decoded.
const MAX_LENGTH: usize = 16 * 1024;

/// A signed token in compact form (RFC 7515, section 7.1), decoded but not verified.
pub(super) struct Compact<'a> {
    /// The signed part: the encoded header and claims.
    pub(super) message: &'a str,
    pub(super) header: Vec<u8>,
    pub(super) claims: Vec<u8>,
    /// The signature, still encoded.
    pub(super) signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Splits a token. Padding, whitespace and other encodings of the same bytes are refused, so that each token has
    /// exactly one encoding.
    pub(super) fn split(token: &'a str) -> Result<Self, JwtProblem> {
        if token.len() > MAX_LENGTH {
            return Err(JwtProblem::TooLarge);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(JwtProblem::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(JwtProblem::Malformed)?;
        decode(signature)?;
        // Another dot is not valid base64url either.
        Ok(Self { message, header: decode(header)?, claims: decode(claims)?, signature })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtProblem> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtProblem::Malformed)
}
