use std::time::{Duration, SystemTime};

use auth_core::{AccessToken, Secret, TokenKey, TokenRecord};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use crate::identity::fingerprint;

/// The maximum size of a token file, in bytes. It is a hundred times the size of a large JWT, but small enough to read
/// the file into memory.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The version of the file format that is written, and the only one that can be read.
const VERSION: u64 = 1;

/// The content of a token file.
#[derive(Debug)]
pub(super) enum Record {
    Login(Login),
    Refused(Tombstone),
}

/// A token, with the refresh token that came with it.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) token: AccessToken,
    /// True if a server has rejected the access token. The refresh token is still valid.
    pub(super) rejected: bool,
}

/// The record of a refused refresh token, so that no process sends it again. It replaces the login.
#[derive(Clone, Debug)]
pub(super) struct Tombstone {
    /// The SHA-256 hash of the refresh token, in hexadecimal.
    pub(super) digest: String,
    /// The time of the refusal, in seconds since 1970.
    refused_at: u64,
    /// A description of the process whose refresh was refused, for diagnosis.
    refused_by: String,
}

/// The reason why a token file contains no record. It never quotes the content.
#[derive(Debug)]
pub(super) enum UnusableFile {
    /// A newer version of the program wrote the file, which must not be changed.
    Newer,
    /// The file is broken. The text completes the sentence "the file …".
    Broken(&'static str),
}

/// The JSON in a token file, with either a token or a refusal.
#[derive(Deserialize, Serialize)]
struct Envelope {
    version: u64,
    binding: Binding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<TokenRecord>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rejected: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused_by: Option<String>,
}

/// The version of the file format. It is parsed first, because it determines the format of the other members.
#[derive(Deserialize)]
struct VersionHeader {
    version: u64,
}

/// The key of the token, in plain text. If a file is copied to the name of another key, the binding prevents the use of
/// its token under that key.
#[derive(Deserialize, PartialEq, Serialize)]
struct Binding {
    /// The digest of the whole key.
    key: String,
    issuer: String,
    token_endpoint: Option<String>,
    origin: Option<String>,
    subject: Option<String>,
}

impl Tombstone {
    pub(super) fn new(refresh_token: &Secret, now: SystemTime) -> Self {
        let digest = fingerprint(refresh_token);
        let refused_at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let refused_by =
            format!("{} {}, process {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), std::process::id());
        Self { digest, refused_at, refused_by }
    }
}

pub(super) fn serialize(key: &TokenKey, record: &Record) -> Result<Vec<u8>, StoreError> {
    let bytes = serde_json::to_vec(&Envelope::from_record(key, record)).map_err(StoreError::unwritable)?;
    if bytes.len() > MAX_BYTES {
        return Err(StoreError::too_large(bytes.len(), MAX_BYTES));
    }
    Ok(bytes)
}

/// Parses a token file. The reasons in errors are fixed texts, because the messages of the JSON parser quote the
/// content.
pub(super) fn parse(bytes: &[u8], key: &TokenKey) -> Result<Record, UnusableFile> {
    if bytes.len() > MAX_BYTES {
        return Err(UnusableFile::Broken("is larger than a token"));
    }
    let VersionHeader { version } =
        serde_json::from_slice(bytes).map_err(|_| UnusableFile::Broken("is not the JSON of a token store"))?;
    if version > VERSION {
        return Err(UnusableFile::Newer);
    }
    if version < VERSION {
        return Err(UnusableFile::Broken("has an unknown version"));
    }
    let envelope: Envelope =
        serde_json::from_slice(bytes).map_err(|_| UnusableFile::Broken("lacks parts of a token"))?;
    envelope.into_record(key).map_err(UnusableFile::Broken)
}

impl Envelope {
    fn from_record(key: &TokenKey, record: &Record) -> Self {
        let empty = Self {
            version: VERSION,
            binding: Binding::of(key),
            token: None,
            rejected: false,
            refused: None,
            refused_at: None,
            refused_by: None,
        };
        match record {
            Record::Login(Login { token, rejected }) => {
                Self { token: Some(TokenRecord::from_token(token)), rejected: *rejected, ..empty }
            }
            Record::Refused(Tombstone { digest, refused_at, refused_by }) => Self {
                refused: Some(digest.clone()),
                refused_at: Some(*refused_at),
                refused_by: Some(refused_by.clone()),
                ..empty
            },
        }
    }

    fn into_record(self, key: &TokenKey) -> Result<Record, &'static str> {
        if self.binding != Binding::of(key) {
            return Err("was written for another key");
        }
        match (self.token, self.refused) {
            (Some(token), None) => {
                let token = token.into_token().map_err(|_| "does not hold a valid token")?;
                Ok(Record::Login(Login { token, rejected: self.rejected }))
            }
            (None, Some(digest)) => {
                let (refused_at, refused_by) =
                    (self.refused_at.unwrap_or_default(), self.refused_by.unwrap_or_default());
                Ok(Record::Refused(Tombstone { digest, refused_at, refused_by }))
            }
            _ => Err("lacks parts of a token"),
        }
    }
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
