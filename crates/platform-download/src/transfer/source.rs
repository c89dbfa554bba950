use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use auth_http::SignedUrl;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::checksum::Crc32c;

/// A signed URL, with the time of its arrival. It is created when the URL arrives, and can be used later.
#[derive(Clone, Debug)]
pub struct ResolvedUrl {
    pub(crate) url: SignedUrl,
    /// The end of its use by the monotonic clock, measured from its arrival, so that an incorrect wall clock has no
    /// effect. `None` if the URL does not state its lifetime.
    until: Option<Instant>,
}

impl ResolvedUrl {
    /// Returns true unless the URL expires soon, according to its `X-Goog-Expires` or `X-Amz-Expires`.
    pub fn is_usable(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

impl From<SignedUrl> for ResolvedUrl {
    fn from(url: SignedUrl) -> Self {
        let until = lifetime(&url).map(|lifetime| Instant::now() + lifetime.saturating_sub(MARGIN.min(lifetime / 10)));
        Self { url, until }
    }
}

/// A source of signed URLs for a file. The URLs are short-lived, so that they are created when needed.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// Returns a URL that is valid now and needs no credentials. It is called again before the URL expires, and when the
    /// storage rejects it.
    ///
    /// # Errors
    ///
    /// The file does not exist, or the server that creates URLs is unreachable.
    /// [`SourceUnavailable`](crate::SourceUnavailable) marks errors after which a later call can succeed.
    async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn Error + Send + Sync>>;
}

const _: Option<&dyn Source> = None;

/// The expected properties of a file, stated before the download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    crc32c: Option<Crc32c>,
    bytes: Option<u64>,
}

impl Expected {
    /// Creates the expectation of a file with this checksum.
    pub fn new(crc32c: Crc32c) -> Self {
        Self { crc32c: Some(crc32c), bytes: None }
    }

    /// Creates the expectation of a file without a stated checksum. The file is verified against the checksum of the
    /// storage; if there is none, it is [unverified](crate::Verification::Unverified).
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Sets the length of the file, in bytes.
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Returns the required checksum, if known.
    pub fn crc32c(&self) -> Option<Crc32c> {
        self.crc32c
    }

    /// Returns the required length in bytes, if known.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }
}

/// The time before the expiry of a URL in which it is no longer used. It is shortened to a tenth of the URL's lifetime.
const MARGIN: Duration = Duration::from_secs(10);

/// The URL of a file, shared by the downloads of its parts, so that it is replaced only once.
#[derive(Debug)]
pub(crate) struct SharedUrl<'a> {
    source: &'a dyn Source,
    now: Mutex<Option<Resolved>>,
}

/// A URL and its sequence number.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) url: ResolvedUrl,
    number: u32,
}

impl<'a> SharedUrl<'a> {
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self { source, now: Mutex::new(None) }
    }

    /// Returns true if a URL can still be used.
    pub(crate) async fn is_usable(&self, resolved: &Resolved) -> bool {
        let is_latest = self.now.lock().await.as_ref().is_none_or(|known| known.number == resolved.number);
        is_latest && resolved.url.is_usable()
    }

    /// Returns a valid URL other than `refused`.
    pub(crate) async fn get(&self, refused: Option<&Resolved>) -> Result<Resolved, Box<dyn Error + Send + Sync>> {
        let mut now = self.now.lock().await;
        let last = now.as_ref().map_or(0, |known| known.number);
        let usable =
            |known: &&Resolved| known.url.is_usable() && refused.is_none_or(|refused| refused.number < known.number);
        if let Some(known) = now.as_ref().filter(usable) {
            return Ok(known.clone());
        }
        let url = self.source.resolve().await?;
        Ok(now.insert(Resolved { url, number: last + 1 }).clone())
    }
}

/// Returns the lifetime of a URL according to its parameters.
fn lifetime(url: &SignedUrl) -> Option<Duration> {
    let mut parameters = url.expose().query_pairs();
    let names = ["x-goog-expires", "x-amz-expires"];
    let (_, seconds) = parameters.find(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()))?;
    // The maximum lifetime is seven days; larger values are errors and could overflow.
    Some(Duration::from_secs(seconds.parse::<u64>().ok()?.min(7 * 24 * 3600)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[derive(Debug, Default)]
    struct Counted(AtomicU32);

    #[async_trait]
    impl Source for Counted {
        async fn resolve(&self) -> Result<ResolvedUrl, Box<dyn Error + Send + Sync>> {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let url: url::Url = format!("https://storage.example/a?X-Goog-Expires=300&number={number}").parse()?;
            Ok(SignedUrl::from(url).into())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_requests_share_one_new_url() {
        let source = Counted::default();
        let link = SharedUrl::new(&source);
        let asked = || source.0.load(Ordering::SeqCst);
        let urls = join_all((0..50).map(|_| link.get(None))).await;
        assert_eq!(asked(), 1);
        let first = urls.into_iter().next().unwrap().unwrap();
        join_all((0..50).map(|_| link.get(Some(&first)))).await;
        assert_eq!(asked(), 2, "refused by fifty, asked for once");
        tokio::time::advance(Duration::from_secs(291)).await;
        join_all((0..50).map(|_| link.get(None))).await;
        assert_eq!(asked(), 3, "near its end");
    }

    #[test]
    fn a_url_says_how_long_it_is_good_for() {
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
