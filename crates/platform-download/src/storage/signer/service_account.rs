use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value};

use super::error::Kind;
use crate::SignError;

/// The key of a Google service account. It signs URLs for the buckets that the account can access. Its `Debug` output
/// contains only the account.
#[derive(Clone)]
pub struct ServiceAccountKey {
    client_email: String,
    key: Arc<KeyPair>,
}

/// An error of reading a service account key. Its message and its `Debug` output never contain parts of the key.
#[derive(Debug, thiserror::Error)]
#[error("the service account key{} {problem}", file.as_ref().map(|file| format!(" in {}", file.display())).unwrap_or_default())]
pub struct ServiceAccountError {
    file: Option<PathBuf>,
    problem: Problem,
    #[source]
    source: Option<io::Error>,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("cannot be read")]
    Unreadable,
    #[error("is not a JSON object (line {line}, column {column})")]
    Json { line: usize, column: usize },
    #[error("has no `{0}`, or one that is not a string: use the file that was downloaded when the key was created")]
    Missing(&'static str),
    #[error("has a `type` other than `service_account`: only a service account has a key to sign with")]
    Type,
    #[error("has a `private_key` that is not a PKCS #8 key in PEM")]
    Pem,
    #[error("has a `private_key` that is not an RSA key of 2048 bits or more")]
    Rsa,
}

impl ServiceAccountError {
    /// Returns the name of the missing or invalid field of the key file, if a field caused the error.
    pub fn field(&self) -> Option<&'static str> {
        match self.problem {
            Problem::Unreadable | Problem::Json { .. } => None,
            Problem::Missing(field) => Some(field),
            Problem::Type => Some("type"),
            Problem::Pem | Problem::Rsa => Some("private_key"),
        }
    }
}

impl ServiceAccountKey {
    /// Reads a key from a JSON key file as created by Google Cloud. Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is not a valid key ([`ServiceAccountError::field`]).
    pub fn from_file(file: impl AsRef<Path>) -> Result<Self, ServiceAccountError> {
        let file = file.as_ref();
        let file_error = |problem, source| ServiceAccountError { file: Some(file.to_owned()), problem, source };
        let json = fs::read(file).map_err(|error| file_error(Problem::Unreadable, Some(error)))?;
        Self::read(&json).map_err(|problem| file_error(problem, None))
    }

    /// Parses the content of a key file.
    ///
    /// # Errors
    ///
    /// The content is not a valid key ([`ServiceAccountError::field`]).
    pub fn from_json(json: &[u8]) -> Result<Self, ServiceAccountError> {
        Self::read(json).map_err(|problem| ServiceAccountError { file: None, problem, source: None })
    }

    fn read(json: &[u8]) -> Result<Self, Problem> {
        // The error of the parser is not used as a source, because it may quote the content.
        let json_error = |error: serde_json::Error| Problem::Json { line: error.line(), column: error.column() };
        let fields: Map<String, Value> = serde_json::from_slice(json).map_err(json_error)?;
        let string_field = |name| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if fields.get("type").is_some_and(|kind| kind != "service_account") {
            return Err(Problem::Type);
        }
        let client_email = string_field("client_email").ok_or(Problem::Missing("client_email"))?;
        let pem = string_field("private_key").ok_or(Problem::Missing("private_key"))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| Problem::Pem)?;
        let key = KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| Problem::Rsa)?;
        Ok(Self { client_email: client_email.to_owned(), key: Arc::new(key) })
    }

    /// Returns the email address that identifies the account. It is visible in signed URLs.
    pub fn client_email(&self) -> &str {
        &self.client_email
    }

    pub(super) fn sign(&self, text: &str) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        let outcome = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature);
        outcome.map_err(|_| Kind::Signature)?;
        Ok(signature)
    }
}

impl fmt::Debug for ServiceAccountKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ServiceAccountKey").field("client_email", &self.client_email).finish_non_exhaustive()
    }
}
