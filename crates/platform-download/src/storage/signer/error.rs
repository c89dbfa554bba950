use std::time::Duration;

/// An error of signing a URL.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SignError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
pub(super) enum Kind {
    #[error("the endpoint of the storage is not an http or https URL")]
    Endpoint,
    #[error("a signed URL is valid for one minute to seven days, not for {0:?}")]
    Lifetime(Duration),
    #[error("invalid object address `{0}`: expected gs://bucket/key")]
    Address(String),
    #[error("invalid bucket name `{0}`: expected letters, digits, `-`, `_` and `.`")]
    Bucket(String),
    #[error("the object key `{0}` is empty or has a segment `.` or `..`: its URL would name another object")]
    Key(String),
    #[error("the current time is out of range for signed URLs")]
    Clock,
    #[error("the service account key cannot create a signature")]
    Signature,
}

impl SignError {
    /// Returns true if the lifetime is not between one minute and seven days.
    pub fn is_lifetime(&self) -> bool {
        matches!(self.0, Kind::Lifetime(_))
    }

    /// Returns true if the key, the bucket or the address is invalid.
    pub fn is_address(&self) -> bool {
        matches!(self.0, Kind::Address(_) | Kind::Bucket(_) | Kind::Key(_))
    }
}
