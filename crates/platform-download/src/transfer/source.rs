use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use auth_http::SignedUrl;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::checksum::Crc32c;

/// A signed URL and the time until which it is used. Create it as soon as the URL is received, because the lifetime of
/// the URL is measured from then.
#[derive(Clone, Debug)]
pub struct ResolvedUrl {
    pub(crate) url: SignedUrl,
    /// The time after which the URL is no longer used, by a monotonic clock, so that an incorrect system clock has no
    /// effect. `None` if the URL does not contain its lifetime.
    use_until: Option<Instant>,
}

impl ResolvedUrl {
    /// Returns false if the URL has expired or expires within 10 seconds (or a tenth of its lifetime, if that is
    /// shorter), according to its `X-Goog-Expires` or `X-Amz-Expires`.
    pub fn is_usable(&self) -> bool {
        self.use_until.is_none_or(|use_until| Instant::now() < use_until)
    }
}

impl From<SignedUrl> for ResolvedUrl {
    fn from(url: SignedUrl) -> Self {
        let use_until =
            lifetime(&url).map(|lifetime| Instant::now() + lifetime.saturating_sub(EXPIRY_MARGIN.min(lifetime / 10)));
        Self { url, use_until }
    }
}

/// A source of signed URLs for a file. The URLs are short-lived, so a download requests a new URL when necessary. The
/// [crate documentation](crate) has an example.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// Returns a URL that is valid now and needs no credentials. A download calls this method again before the URL
    /// expires, and if the storage rejects the URL.
    ///
    /// # Errors
    ///
    /// The file does not exist, or the server that creates URLs is unreachable. Return a
    /// [`SourceUnavailable`](crate::SourceUnavailable) if a later call can succeed.
    async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn Error + Send + Sync>>;
}

const _: Option<&dyn Source> = None;

/// The properties that a downloaded file must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    crc32c: Option<Crc32c>,
    bytes: Option<u64>,
}

impl Expected {
    /// Expects this checksum.
    pub fn new(crc32c: Crc32c) -> Self {
        Self { crc32c: Some(crc32c), bytes: None }
    }

    /// Expects no particular checksum. The file is verified with the checksum that the storage sends. If the storage
    /// sends none, the file is [unverified](crate::Verification::Unverified).
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Sets the expected length of the file, in bytes.
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Returns the expected checksum, if it is set.
    pub fn crc32c(&self) -> Option<Crc32c> {
        self.crc32c
    }

    /// Returns the expected length in bytes, if it is set.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }
}

/// The period before the expiry of a URL in which the URL is no longer used. If a tenth of its lifetime is shorter,
/// that period applies.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// The current URL of a file. The requests for its parts share it, so that an expired URL is replaced only once.
#[derive(Debug)]
pub(crate) struct SharedUrl<'a> {
    source: &'a dyn Source,
    current: Mutex<Option<NumberedUrl>>,
}

/// A URL and its sequence number among the URLs of a file.
#[derive(Clone, Debug)]
pub(crate) struct NumberedUrl {
    pub(crate) url: ResolvedUrl,
    number: u32,
}

impl<'a> SharedUrl<'a> {
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self { source, current: Mutex::new(None) }
    }

    /// Returns true if `numbered_url` is the current URL and does not expire soon.
    pub(crate) async fn is_usable(&self, numbered_url: &NumberedUrl) -> bool {
        let is_latest = self.current.lock().await.as_ref().is_none_or(|known| known.number == numbered_url.number);
        is_latest && numbered_url.url.is_usable()
    }

    /// Returns a valid URL that is newer than `refused`, which the storage rejected.
    pub(crate) async fn get(&self, refused: Option<&NumberedUrl>) -> Result<NumberedUrl, Box<dyn Error + Send + Sync>> {
        let mut current = self.current.lock().await;
        let last_number = current.as_ref().map_or(0, |known| known.number);
        let is_usable =
            |known: &&NumberedUrl| known.url.is_usable() && refused.is_none_or(|refused| refused.number < known.number);
        if let Some(known) = current.as_ref().filter(is_usable) {
            return Ok(known.clone());
        }
        let url = self.source.resolve().await?;
        Ok(current.insert(NumberedUrl { url, number: last_number + 1 }).clone())
    }
}

/// Returns the lifetime in the query parameters of a URL.
fn lifetime(url: &SignedUrl) -> Option<Duration> {
    let mut parameters = url.expose().query_pairs();
    let names = ["x-goog-expires", "x-amz-expires"];
    let (_, seconds) = parameters.find(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()))?;
    // Values above the maximum lifetime of seven days are invalid, and could cause an overflow.
    Some(Duration::from_secs(seconds.parse::<u64>().ok()?.min(7 * 24 * 3600)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[derive(Debug, Default)]
    struct CountingSource(AtomicU32);

    #[async_trait]
    impl Source for CountingSource {
        async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn Error + Send + Sync>> {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let url: url::Url = format!("https://storage.example/a?X-Goog-Expires=300&number={number}").parse()?;
            Ok(SignedUrl::from(url).into())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_requests_share_one_new_url() {
        let source = CountingSource::default();
        let shared_url = SharedUrl::new(&source);
        let calls = || source.0.load(Ordering::SeqCst);
        let urls = join_all((0..50).map(|_| shared_url.get(None))).await;
        assert_eq!(calls(), 1);
        let first = urls.into_iter().next().unwrap().unwrap();
        join_all((0..50).map(|_| shared_url.get(Some(&first)))).await;
        assert_eq!(calls(), 2, "fifty rejections of the same URL cause one call");
        tokio::time::advance(Duration::from_secs(291)).await;
        join_all((0..50).map(|_| shared_url.get(None))).await;
        assert_eq!(calls(), 3, "the URL expires soon");
    }

    #[test]
    fn lifetime_is_read_from_the_query() {
        for (query, expected) in [
            ("X-Amz-Expires=60", Some(60)),
            ("a=b&x-goog-expires=21600", Some(21600)),
            ("X-Goog-Expires=99999999999999", Some(604_800)),
            ("X-Goog-Expires=soon", None),
            ("Expires=1", None),
        ] {
            let url = SignedUrl::from(url::Url::parse(&format!("https://storage.example/a?{query}")).unwrap());
            assert_eq!(lifetime(&url), expected.map(Duration::from_secs), "{query}");
        }
    }
}
