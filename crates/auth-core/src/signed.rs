use std::fmt;

use url::Url;

use crate::{Secret, redacted};

/// A URL that is a key: whoever has it can fetch or store what it names, until it ends. Its `Debug`
/// shows no query, where the signature is.
///
/// ```
/// use auth_core::SignedUrl;
///
/// let signed = SignedUrl::from("https://storage.example/b/o?X-Amz-Signature=abc".parse::<url::Url>().unwrap());
/// assert_eq!(format!("{signed:?}"), "SignedUrl(https://storage.example/b/o?***)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl(Url);

impl SignedUrl {
    /// The URL itself. Send it no credentials, and show it to nobody.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl From<Url> for SignedUrl {
    fn from(url: Url) -> Self {
        Self(url)
    }
}

impl From<SignedUrl> for Secret {
    fn from(signed: SignedUrl) -> Self {
        Self::new(signed.0)
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SignedUrl({})", redacted(&self.0))
    }
}
