use std::time::Duration;

/// An error of signing a URL.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SignError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
pub(super) enum Kind {
    #[error("the endpoint of the storage is no http or https URL")]
    Endpoint,
    #[error("a signed URL is good for a minute to seven days, not for {0:?}")]
    Lifetime(Duration),
    #[error("`{0}` is no address of an object: one has the form gs://bucket/key")]
    Address(String),
    #[error("`{0}` is no name of a bucket: it has letters, digits, `-`, `_` and `.`")]
    Bucket(String),
    #[error("the object key `{0}` has a segment that is empty, `.` or `..`, so its URL would name another object")]
    Key(String),
    #[error("the clock shows no time that a URL can be signed for")]
    Clock,
    #[error("the key of the service account does not sign")]
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
