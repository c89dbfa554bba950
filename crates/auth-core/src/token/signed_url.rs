use std::fmt;

use url::Url;

use crate::{Secret, redacted};

/// A signed URL. Until it expires, anyone who has it can read or write the object, depending on the URL. `Debug` omits
/// the query, which contains the signature.
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
    /// Returns the URL. Send no credentials to it, and do not display it.
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
    fn from(signed_url: SignedUrl) -> Self {
        Self::new(signed_url.0)
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SignedUrl({})", redacted(&self.0))
    }
}
