use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, Clock, Secret, TokenError, TokenKey};
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{RedisError, RedisResult, Script};

use crate::error::CacheError;
use crate::link::Link;
use crate::names::{Names, Namespace};
use crate::scripts::{self, invoke_on};
use crate::sealing::Sealing;
use crate::server::Primary;

/// The additional time that a fence is stored after its lease or token expired. It must be longer than a process can be
/// suspended while it obtains a token.
pub(crate) const FENCE_EXTRA_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The additional time that an entry with a refresh token is stored after its access token expired, so that the refresh
/// token is available for the next refresh.
const REFRESH_TOKEN_EXTRA_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The default lifetime of a tombstone. It must exceed the time until the successor of the refused refresh token is
/// published: 2 min for the attempt (`TokenSourceBuilder::with_attempt_timeout`), 1 min for the lease, and 2 min for
/// retries of the publication.
pub(crate) const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The maximum increment of a fence. After a failover, the probability that a number is assigned a second time is one in
/// this value. Lua numbers are exact only below 2^53, so a token key has at least 2^29 increments.
const MAX_FENCE_STEP: u64 = 1 << 24;

/// The maximum lifetime of an entry. Redis limits expiry times.
const MAX_ENTRY_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The maximum number of entries that `clear` deletes at the same time on one server.
const CLEAR_CONCURRENCY: usize = 32;

/// A token cache in Redis. It stores sealed tokens ([`AsyncTokenCache`]), and its lease ensures that only one of the
/// processes that share the cache obtains a token at a time ([`RefreshLease`]). Clones are cheap and share one connection.
///
/// An entry is stored as long as its token is valid, and 30 days longer if it has a refresh token. A value that cannot be
/// opened is treated as a cache miss: it was sealed with an unknown key, copied from another entry, or not written by this
/// crate.
///
/// While Redis is unavailable, all methods fail immediately with a [`CacheError`] for which
/// [`is_unavailable`](CacheError::is_unavailable) returns true.
///
/// ```no_run
/// use std::sync::Arc;
/// use auth_core::{Secret, TokenKey, TokenSource, async_provider_fn};
/// use auth_redis::{RedisTokenCache, SealingKey};
///
/// # async fn example(password: Secret, sealing_key: Secret) -> Result<(), Box<dyn std::error::Error>> {
/// # let vault = async_provider_fn(|_request| async { Ok::<_, auth_core::TokenError>("a-token") });
/// let cache = RedisTokenCache::builder(&"rediss://redis.example:6379".parse()?)
///     .with_user("workers", password)
///     .with_sealing_key(SealingKey::from_base64(&sealing_key)?)
///     .connect()
///     .await?;
/// let cache = Arc::new(cache);
/// let source = TokenSource::builder(TokenKey::new("https://issuer.example/"), vault)
///     .with_identity("workers")
///     .with_cache(cache.clone())
///     .with_lease(cache)
///     .build()?;
/// # Ok(()) }
/// ```
///
/// [`RefreshLease`]: auth_core::RefreshLease
#[derive(Clone)]
pub struct RedisTokenCache {
    pub(crate) link: Arc<Link>,
    pub(crate) settings: Arc<Settings>,
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) namespace: Namespace,
    pub(crate) sealing: Sealing,
    pub(crate) lease: Duration,
    pub(crate) wait: Duration,
    pub(crate) tombstone_lifetime: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The data that a script writes to an entry: the last arguments of the script.
pub(crate) struct EntryContent {
    /// 0 if unlimited.
    lifetime_ms: u64,
    fence_extra_ms: u64,
    /// Empty to delete the entry.
    fields: Vec<(String, Vec<u8>)>,
}

impl RedisTokenCache {
    pub(crate) fn new(link: Arc<Link>, settings: Settings) -> Self {
        Self { link, settings: Arc::new(settings) }
    }

    pub(crate) fn names(&self, key: &TokenKey) -> Names {
        self.settings.namespace.names(key)
    }

    /// Runs a script on the keys `names`.
    pub(crate) async fn run<T: redis::FromRedisValue>(
        &self,
        script: &'static Script,
        names: &Names,
        arguments: impl redis::ToRedisArgs,
    ) -> Result<T, CacheError> {
        let mut invocation = invoke_on(script, names);
        invocation.arg(arguments);
        self.link.run(|mut connection| async move { invocation.invoke_async(&mut connection).await }).await
    }

    pub(crate) fn entry_content(&self, names: &Names, token: &AccessToken) -> Result<EntryContent, CacheError> {
        let Settings { sealing, clock, .. } = &*self.settings;
        let mut fields = sealing.fingerprints(names, token);
        fields.push(("value".to_owned(), sealing.seal(names, token)?));
        let mut lifetime = token.expires_at().map(|end| end.duration_since(clock.now()).unwrap_or_default());
        if token.refresh_token().is_some() {
            fields.push(("renewable".to_owned(), b"1".to_vec()));
            lifetime = lifetime.map(|time| time.saturating_add(REFRESH_TOKEN_EXTRA_LIFETIME));
        }
        // 0 means unlimited, so the entry of an expired token gets the shortest lifetime, 1 ms.
        let lifetime_ms = lifetime.map_or(0, |time| milliseconds(time.min(MAX_ENTRY_LIFETIME)).max(1));
        Ok(EntryContent { lifetime_ms, fence_extra_ms: milliseconds(FENCE_EXTRA_LIFETIME), fields })
    }

    /// Returns the content of a tombstone: the digests of a refused refresh token, and the access token if it is still
    /// valid.
    pub(crate) fn tombstone(
        &self,
        names: &Names,
        refused: &Secret,
        remaining_token: Option<&AccessToken>,
    ) -> Result<EntryContent, CacheError> {
        let (lifetime_ms, fence_extra_ms) =
            (milliseconds(self.settings.tombstone_lifetime), milliseconds(FENCE_EXTRA_LIFETIME));
        let mut content = match remaining_token {
            Some(token) => self.entry_content(names, token)?,
            None => EntryContent { lifetime_ms, fence_extra_ms, fields: Vec::new() },
        };
        content.fields.extend(self.settings.sealing.refusals(names, refused));
        content.lifetime_ms = if content.lifetime_ms == 0 { 0 } else { content.lifetime_ms.max(lifetime_ms) };
        Ok(content)
    }

    async fn forget(&self, names: &Names) -> Result<(), CacheError> {
        self.run(&scripts::FORGET, names, (step(), milliseconds(FENCE_EXTRA_LIFETIME))).await
    }

    /// Deletes all entries of one server in batches.
    async fn clear_on(&self, primary: &Primary) -> Result<(), CacheError> {
        let (pattern, mut cursor) = (self.settings.namespace.pattern(), 0);
        loop {
            let scan = self.link.run(|mut connection| {
                let pattern = &pattern;
                async move { connection.scan(primary, pattern, cursor).await }
            });
            let (next, found) = scan.await?;
            // A scan can return all three Redis keys of a token key, so an entry may be deleted up to three times. The
            // second deletion has no effect.
            let names = found.iter().filter_map(|name| self.settings.namespace.parse(name)).map(Ok);
            stream::iter(names)
                .try_for_each_concurrent(CLEAR_CONCURRENCY, async |names| self.forget(&names).await)
                .await?;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

#[async_trait]
impl AsyncTokenCache for RedisTokenCache {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        let names = self.names(key);
        let value = self.link.run(|mut connection| {
            let entry = &names.entry;
            async move { or_miss(redis::cmd("HGET").arg(entry).arg("value").query_async(&mut connection).await) }
        });
        Ok(value.await?.and_then(|value| self.settings.sealing.open(&names, value)))
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let names = self.names(key);
        let content = self.entry_content(&names, token)?;
        Ok(self.run(&scripts::STORE, &names, (step(), content)).await?)
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        Ok(self.forget(&self.names(key)).await?)
    }

    async fn clear(&self) -> Result<(), TokenError> {
        let primaries = self.link.run(|mut connection| async move { connection.primaries().await }).await?;
        let clearing = stream::iter(primaries).map(Ok::<_, CacheError>);
        Ok(clearing.try_for_each_concurrent(None, async |primary| self.clear_on(&primary).await).await?)
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let names = self.names(key);
        let fingerprints = self.settings.sealing.fingerprints(&names, rejected);
        Ok(self.run(&scripts::REJECT, &names, fingerprints).await?)
    }
}

impl EntryContent {
    /// Returns content without fields, which deletes the entry.
    pub(crate) fn deletion() -> Self {
        Self { lifetime_ms: 0, fence_extra_ms: 0, fields: Vec::new() }
    }
}

impl redis::ToRedisArgs for EntryContent {
    fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
        (self.lifetime_ms, self.fence_extra_ms).write_redis_args(out);
        self.fields.write_redis_args(out);
    }
}

impl fmt::Debug for RedisTokenCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisTokenCache")
            .field("server", &self.link.name())
            .field("namespace", &self.settings.namespace)
            .finish_non_exhaustive()
    }
}

/// Returns a random increment for a fence.
pub(crate) fn step() -> u64 {
    fastrand::u64(1..=MAX_FENCE_STEP)
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Treats a Redis value of another type, which this crate did not write, as a miss.
fn or_miss(found: RedisResult<Option<Vec<u8>>>) -> RedisResult<Option<Vec<u8>>> {
    let is_foreign = |error: &RedisError| error.code() == Some("WRONGTYPE");
    found.or_else(|error| if is_foreign(&error) { Ok(None) } else { Err(error) })
}
