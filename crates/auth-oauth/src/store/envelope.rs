use auth_core::{AccessToken, SealedToken, TokenKey};
use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// The size of a file in bytes beyond which it is no token: a hundred times that of a large JWT, and
/// small enough to be read in one go.
pub(super) const LARGEST: usize = 1024 * 1024;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// Why a file holds no token for a key. Never what it does hold.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) &'static str);

/// All that a file says.
#[derive(Deserialize, Serialize)]
struct Envelope {
    version: u32,
    binding: Binding,
    token: SealedToken,
    /// A server has rejected the access token; the login that it belongs to goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rejected: bool,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) token: AccessToken,
    pub(super) rejected: bool,
}

/// Read first: the rest is as the version says.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

/// What the token was issued for, in the open. A file that was copied to another name, or edited, does
/// not hand its token to another environment.
#[derive(Deserialize, PartialEq, Serialize)]
struct Binding {
    /// The digest over all of the key.
    key: String,
    issuer: String,
    token_endpoint: Option<String>,
    origin: Option<String>,
    subject: Option<String>,
}

pub(super) fn write(key: &TokenKey, kept: &Kept) -> Result<Vec<u8>, StoreError> {
    let Kept { token, rejected } = kept;
    let (binding, token) = (Binding::of(key), SealedToken::seal(token));
    let envelope = Envelope { version: VERSION, binding, token, rejected: *rejected };
    let bytes = serde_json::to_vec(&envelope).map_err(StoreError::unwritable)?;
    if bytes.len() > LARGEST {
        return Err(StoreError::too_large(bytes.len(), LARGEST));
    }
    Ok(bytes)
}

/// The reasons are fixed texts, as the messages of a parser quote what they stumble over.
pub(super) fn read(bytes: &[u8], key: &TokenKey) -> Result<Kept, Unreadable> {
    if bytes.len() > LARGEST {
        return Err(Unreadable("it is larger than a token"));
    }
    let Header { version } =
        serde_json::from_slice(bytes).map_err(|_| Unreadable("it is not the JSON of a token store"))?;
    if version != VERSION {
        return Err(Unreadable("it has a version that is not known here"));
    }
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|_| Unreadable("it lacks parts of a token"))?;
    if envelope.binding != Binding::of(key) {
        return Err(Unreadable("it was written for something else"));
    }
    let token = envelope.token.open().map_err(|_| Unreadable("what it holds is no token"))?;
    Ok(Kept { token, rejected: envelope.rejected })
}

impl Binding {
    fn of(key: &TokenKey) -> Self {
        Self {
            key: key.digest_hex(),
            issuer: key.issuer().to_owned(),
            token_endpoint: key.token_endpoint().map(str::to_owned),
            origin: key.origin().map(str::to_owned),
            subject: key.subject().map(str::to_owned),
        }
    }
}
