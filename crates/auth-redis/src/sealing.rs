//! Encryption of stored tokens, so that a reader of Redis cannot use them.
//!
//! A sealed value consists of a version (1 byte), a key id (8 bytes), a random nonce (12 bytes), and the token as JSON,
//! encrypted with AES-256-GCM, with a tag (16 bytes). The version, the key id, the digest of the token key and the
//! namespace are authenticated data: a value copied to another entry or namespace cannot be opened.
//!
//! The fingerprint of a token is its HMAC-SHA-256 with the same binding. With it, a script can compare a rejected token
//! with the stored token without decrypting it. A tombstone contains the HMAC-SHA-256 of the refused refresh token.

use std::fmt;
use std::sync::Arc;

use auth_core::{AccessToken, Secret, TokenRecord};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{digest, hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{BuildError, CacheError};
use crate::names::KeyNames;

/// Format versions of encrypted and unencrypted values.
const SEALED_VERSION: u8 = 1;
const PLAIN_VERSION: u8 = 0;

/// The length of a key id, in bytes. A short id is enough to select one of a few configured keys.
const KEY_ID_BYTES: usize = 8;

/// The prefix of the field names of a tombstone, followed by the key id.
const TOMBSTONE_FIELD_PREFIX: &str = "refused";

/// The key id in the field names of unencrypted entries.
const PLAIN_KEY_ID: &str = "plain";

/// The initial buffer capacity, sufficient for a token with its id token and refresh token. A buffer that grows is
/// reallocated and leaves copies of the token in memory.
const BUFFER_BYTES: usize = 64 * 1024;

/// A key that encrypts tokens. Clones are cheap. `Debug` shows only the key id, which is derived from the key and is
/// not secret.
#[derive(Clone)]
pub struct SealingKey(Arc<DerivedKeys>);

struct DerivedKeys {
    id: [u8; KEY_ID_BYTES],
    cipher: RandomizedNonceKey,
    fingerprints: hmac::Key,
}

impl SealingKey {
    /// Creates a key from 32 random bytes in base64: `openssl rand -base64 32`. Surrounding white space is ignored.
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
    /// The text is not base64, or not 32 bytes long.
    pub fn from_base64(secret: &Secret) -> Result<Self, BuildError> {
        let encoded = secret.expose().trim();
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| BuildError::invalid_sealing_key())?);
        if bytes.len() != 32 {
            return Err(BuildError::invalid_sealing_key());
        }
        // RFC 5869: a separate key for each purpose is derived from one secret.
        let root_key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"auth-redis").extract(&bytes);
        let derive = |purpose: &'static [u8]| {
            let mut derived = Zeroizing::new([0; 32]);
            let expansion = root_key.expand(&[purpose], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut *derived));
            expansion.map(|()| derived).map_err(|_| BuildError::invalid_sealing_key())
        };
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&derive(b"id")?[..KEY_ID_BYTES]);
        let cipher =
            RandomizedNonceKey::new(&AES_256_GCM, &*derive(b"seal")?).map_err(|_| BuildError::invalid_sealing_key())?;
        let fingerprints = hmac::Key::new(hmac::HMAC_SHA256, &*derive(b"fingerprint")?);
        Ok(Self(Arc::new(DerivedKeys { id, cipher, fingerprints })))
    }

    fn associated_data(&self, names: &KeyNames) -> Aad<Vec<u8>> {
        Aad::from([&[SEALED_VERSION][..], &self.0.id, &names.binding].concat())
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

/// The encryption of stored tokens.
#[derive(Clone, Debug)]
pub(crate) enum Sealing {
    /// Encryption with the first key. Each of the keys can open values.
    Keys(SealingKey, Vec<SealingKey>),
    /// No encryption.
    Plain,
}

impl Sealing {
    pub(crate) fn seal(&self, names: &KeyNames, token: &AccessToken) -> Result<Vec<u8>, CacheError> {
        let mut json = Zeroizing::new(Vec::with_capacity(BUFFER_BYTES));
        serde_json::to_writer(&mut *json, &TokenRecord::from_token(token)).map_err(CacheError::unserializable)?;
        let Self::Keys(key, _) = self else { return Ok([&[PLAIN_VERSION][..], &names.binding, &json].concat()) };
        let nonce = key.0.cipher.seal_in_place_append_tag(key.associated_data(names), &mut *json);
        let nonce = nonce.map_err(|_| CacheError::unsealable())?;
        Ok([&[SEALED_VERSION][..], &key.0.id, nonce.as_ref(), &json].concat())
    }

    /// Returns the token, or `None` if the value cannot be opened or does not contain a token.
    pub(crate) fn open(&self, names: &KeyNames, value: Vec<u8>) -> Option<AccessToken> {
        let mut value = Zeroizing::new(value);
        let json = match self {
            Self::Plain => value.strip_prefix(&[PLAIN_VERSION])?.strip_prefix(&*names.binding)?,
            Self::Keys(first, others) => {
                let (id, nonce_and_ciphertext) =
                    value.strip_prefix(&[SEALED_VERSION])?.split_at_checked(KEY_ID_BYTES)?;
                let key = [first].into_iter().chain(others).find(|key| key.0.id == *id)?;
                let nonce = Nonce::try_assume_unique_for_key(nonce_and_ciphertext.get(..NONCE_LEN)?).ok()?;
                let ciphertext = &mut value[1 + KEY_ID_BYTES + NONCE_LEN..];
                key.0.cipher.open_in_place(nonce, key.associated_data(names), ciphertext).ok()?
            }
        };
        serde_json::from_slice::<TokenRecord>(json).ok()?.into_token().ok()
    }

    /// Returns the field names and fingerprints of a token, one per key. A process that has only one of the keys can
    /// compare the token.
    pub(crate) fn fingerprints(&self, names: &KeyNames, token: &AccessToken) -> Vec<(String, Vec<u8>)> {
        self.digests("print", &[&names.binding, b"\0"], token.secret())
    }

    /// Returns the field names and digests of a tombstone for a refused refresh token.
    pub(crate) fn refusal_digests(&self, names: &KeyNames, refresh_token: &Secret) -> Vec<(String, Vec<u8>)> {
        self.digests(TOMBSTONE_FIELD_PREFIX, &[&names.binding, b"\0refused\0"], refresh_token)
    }

    /// Returns the field names of the digests that this process can compare: one per configured key.
    pub(crate) fn refusal_fields(&self) -> Vec<String> {
        match self {
            Self::Keys(first, others) => {
                [first].into_iter().chain(others).map(|key| format!("{TOMBSTONE_FIELD_PREFIX}:{}", key.id())).collect()
            }
            Self::Plain => vec![format!("{TOMBSTONE_FIELD_PREFIX}:{PLAIN_KEY_ID}")],
        }
    }

    /// Returns HMAC-SHA-256 of a prefix and a secret under each key, or SHA-256 without keys.
    fn digests(&self, field: &str, prefix: &[&[u8]], secret: &Secret) -> Vec<(String, Vec<u8>)> {
        let secret = secret.expose().as_bytes();
        match self {
            Self::Keys(first, others) => {
                let keyed_digest = |key: &SealingKey| {
                    let mut context = hmac::Context::with_key(&key.0.fingerprints);
                    for part in prefix {
                        context.update(part);
                    }
                    context.update(secret);
                    (format!("{field}:{}", key.id()), context.sign().as_ref().to_vec())
                };
                [first].into_iter().chain(others).map(keyed_digest).collect()
            }
            Self::Plain => {
                let digest = digest::digest(&digest::SHA256, secret);
                vec![(format!("{field}:{PLAIN_KEY_ID}"), digest.as_ref().to_vec())]
            }
        }
    }
}
