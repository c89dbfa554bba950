use std::fmt;

use url::Url;

/// Returns a URL without user, password, fragment and query, which may contain signatures and share tokens.
///
/// ```
/// let url = "https://user:pass@host.example/a/b?X-Amz-Signature=abc".parse().unwrap();
/// assert_eq!(auth_core::redacted(&url).to_string(), "https://host.example/a/b?***");
/// ```
pub fn redacted(url: &Url) -> impl fmt::Display + '_ {
    Redacted(url)
}

struct Redacted<'a>(&'a Url);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(url) = self;
        write!(formatter, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(formatter, ":{port}")?;
        }
        write!(formatter, "{}{}", url.path(), if url.query().is_some() { "?***" } else { "" })
    }
}
