//! How tokens are written: sealed, so that Redis, and whoever reads it, has nothing that can be used.
//!
//! A sealed value is one byte for its version, 8 for the id of its key, 12 for a random nonce, and the token as JSON
//! under AES-256-GCM with its tag of 16. Version, key id, digest of the token's key and namespace are authenticated
//! with it: a value that is copied to another entry, or another namespace, does not open.
//!
//! The fingerprint of a token is its HMAC-SHA-256 together with that same binding. It lets Redis compare a rejected
//! token with the one that is kept, without opening anything. A refresh token that was refused is recorded in the same way.

use std::fmt;
use std::sync::Arc;

use auth_core::{AccessToken, SealedToken, Secret};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{BuildError, CacheError};
use crate::names::Names;

/// The versions of what is written: sealed, and in clear.
const SEALED: u8 = 1;
const PLAIN: u8 = 0;

/// The length of the id of a key. It only tells keys apart.
const ID: usize = 8;

/// The fields of a tombstone, before the id of the key.
const REFUSED: &str = "refused";

/// Stands for the id of a key where there is none.
const UNKEYED: &str = "plain";

/// Room for a token with its id token and refresh token, so that no copy is left behind when a buffer grows.
const ROOM: usize = 64 * 1024;

/// A key that tokens are sealed with. Its `Debug` shows its id, which is derived from it and not secret. Cheap to
/// clone.
#[derive(Clone)]
pub struct SealingKey(Arc<Parts>);

struct Parts {
    id: [u8; ID],
    cipher: RandomizedNonceKey,
    fingerprints: hmac::Key,
}

impl SealingKey {
    /// The key that these 32 random bytes in base64 are: `openssl rand -base64 32`. White space around them does not
    /// matter.
    ///
    /// ```
    /// use auth_core::Secret;
    /// use auth_redis::SealingKey;
    ///
    /// let key = SealingKey::from_base64(&Secret::new("MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="))?;
    /// # Ok::<(), auth_redis::BuildError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It is no base64, or not of 32 bytes.
    pub fn from_base64(secret: &Secret) -> Result<Self, BuildError> {
        let text = secret.expose().trim();
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| BuildError::sealing_key())?);
        if bytes.len() != 32 {
            return Err(BuildError::sealing_key());
        }
        // RFC 5869: one secret, and from it a key for each purpose.
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"auth-redis").extract(&bytes);
        let derive = |purpose: &'static [u8]| {
            let mut derived = Zeroizing::new([0; 32]);
            let filled = root.expand(&[purpose], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut *derived));
            filled.map(|()| derived).map_err(|_| BuildError::sealing_key())
        };
        let mut id = [0; ID];
        id.copy_from_slice(&derive(b"id")?[..ID]);
        let cipher =
            RandomizedNonceKey::new(&AES_256_GCM, &*derive(b"seal")?).map_err(|_| BuildError::sealing_key())?;
        let fingerprints = hmac::Key::new(hmac::HMAC_SHA256, &*derive(b"fingerprint")?);
        Ok(Self(Arc::new(Parts { id, cipher, fingerprints })))
    }

    fn associated(&self, names: &Names) -> Aad<Vec<u8>> {
        Aad::from([&[SEALED][..], &self.0.id, &names.binding].concat())
    }

    fn id(&self) -> String {
        self.0.id.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealingKey({})", self.id())
    }
}

/// How tokens are written.
#[derive(Clone, Debug)]
pub(crate) enum Sealing {
    /// With the first; those that were written with any of the others are read too.
    Keys(SealingKey, Vec<SealingKey>),
    /// In clear.
    Plain,
}

impl Sealing {
    pub(crate) fn seal(&self, names: &Names, token: &AccessToken) -> Result<Vec<u8>, CacheError> {
        let mut json = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer(&mut *json, &SealedToken::seal(token)).map_err(CacheError::unwritable)?;
        let Self::Keys(key, _) = self else { return Ok([&[PLAIN][..], &names.binding, &json].concat()) };
        let nonce = key.0.cipher.seal_in_place_append_tag(key.associated(names), &mut *json);
        let nonce = nonce.map_err(|_| CacheError::unsealable())?;
        Ok([&[SEALED][..], &key.0.id, nonce.as_ref(), &json].concat())
    }

    /// The token; `None` if the value is of no use here, for whatever reason.
    pub(crate) fn open(&self, names: &Names, value: Vec<u8>) -> Option<AccessToken> {
        let mut value = Zeroizing::new(value);
        let json = match self {
            Self::Plain => value.strip_prefix(&[PLAIN])?.strip_prefix(&*names.binding)?,
            Self::Keys(first, others) => {
                let (id, rest) = value.strip_prefix(&[SEALED])?.split_at_checked(ID)?;
                let key = [first].into_iter().chain(others).find(|key| key.0.id == *id)?;
                let nonce = Nonce::try_assume_unique_for_key(rest.get(..NONCE_LEN)?).ok()?;
                let text = &mut value[1 + ID + NONCE_LEN..];
                key.0.cipher.open_in_place(nonce, key.associated(names), text).ok()?
            }
        };
        serde_json::from_slice::<SealedToken>(json).ok()?.open().ok()
    }

    /// The fingerprints of a token, with the fields in which they are written: one for each key, so that a process that
    /// has one of the keys can compare.
    pub(crate) fn fingerprints(&self, names: &Names, token: &AccessToken) -> Vec<(String, Vec<u8>)> {
        self.digests("print", &[&names.binding, b"\0"], token.secret())
    }

    /// The digests of a refresh token that was refused, with the fields of a tombstone in which they are written.
    pub(crate) fn refusals(&self, names: &Names, refresh_token: &Secret) -> Vec<(String, Vec<u8>)> {
        self.digests(REFUSED, &[&names.binding, b"\0refused\0"], refresh_token)
    }

    /// The fields of a tombstone that this process can compare.
    pub(crate) fn refusal_fields(&self) -> Vec<String> {
        match self {
            Self::Keys(first, others) => {
                [first].into_iter().chain(others).map(|key| format!("{REFUSED}:{}", key.id())).collect()
            }
            Self::Plain => vec![format!("{REFUSED}:{UNKEYED}")],
        }
    }

    /// HMAC-SHA-256 of a secret under each key, together with a prefix, or its SHA-256 without keys.
    fn digests(&self, field: &str, prefix: &[&[u8]], secret: &Secret) -> Vec<(String, Vec<u8>)> {
        let secret = secret.expose().as_bytes();
        match self {
            Self::Keys(first, others) => {
                let keyed = |key: &SealingKey| {
                    let mut context = hmac::Context::with_key(&key.0.fingerprints);
                    for part in prefix {
                        context.update(part);
                    }
                    context.update(secret);
                    (format!("{field}:{}", key.id()), context.sign().as_ref().to_vec())
                };
                [first].into_iter().chain(others).map(keyed).collect()
            }
            Self::Plain => {
                let digest = digest::digest(&digest::SHA256, secret);
                vec![(format!("{field}:{UNKEYED}"), digest.as_ref().to_vec())]
            }
        }
    }
}
