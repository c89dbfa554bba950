use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, Clock, Secret, TokenError, TokenKey};
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{RedisError, RedisResult, Script};

use crate::error::CacheError;
use crate::link::Link;
use crate::names::{KeyNames, Namespace};
use crate::scripts::{self, new_invocation};
use crate::sealing::Sealing;
use crate::server::Primary;

/// The additional time that a fence is stored after its lease or token has expired. It must be longer than any time for
/// which a process may be suspended while it obtains a token.
pub(crate) const FENCE_EXTRA_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The additional time that an entry with a refresh token is stored after its access token has expired. The next
/// refresh needs the refresh token.
const REFRESH_TOKEN_EXTRA_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The default lifetime of a tombstone. It must be longer than a process may take to publish the successor of the
/// refused refresh token: 2 min for the attempt (`TokenSourceBuilder::with_attempt_timeout`), 1 min for the lease, and
/// 2 min for retries of the publication.
pub(crate) const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The maximum increment of a fence. Increments are random, so a failover that loses a fence makes a repeated number
/// unlikely: its probability is 1 in 2^24. Lua numbers are exact below 2^53, so a fence has at least 2^29 increments.
const MAX_FENCE_INCREMENT: u64 = 1 << 24;

/// The maximum lifetime of an entry. Redis limits expiry times.
const MAX_ENTRY_LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The maximum number of entries that `clear` deletes at the same time on one server.
const CLEAR_CONCURRENCY: usize = 32;

/// A token cache in Redis. It stores sealed tokens ([`AsyncTokenCache`]). Its lease ([`RefreshLease`]) ensures that
/// only one process at a time obtains a token. Clones are cheap and share one connection.
///
/// An entry is stored until its token expires, and 30 days longer if the token has a refresh token. A value that cannot
/// be opened is a cache miss. Such a value was sealed with an unknown key, copied from another entry, or written by
/// another program.
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
    pub(crate) lease_time: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) tombstone_lifetime: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The data that a script writes to an entry, as the last arguments of the script.
pub(crate) struct EntryContent {
    /// The lifetime of the entry, or 0 if it is unlimited.
    lifetime_ms: u64,
    fence_extra_lifetime_ms: u64,
    /// The fields of the Redis hash. No fields mean that the script deletes the entry.
    fields: Vec<(String, Vec<u8>)>,
}

impl RedisTokenCache {
    pub(crate) fn new(link: Arc<Link>, settings: Settings) -> Self {
        Self { link, settings: Arc::new(settings) }
    }

    pub(crate) fn key_names(&self, key: &TokenKey) -> KeyNames {
        self.settings.namespace.key_names(key)
    }

    /// Runs a script on the Redis keys of one token key.
    pub(crate) async fn run_script<T: redis::FromRedisValue>(
        &self,
        script: &'static Script,
        names: &KeyNames,
        arguments: impl redis::ToRedisArgs,
    ) -> Result<T, CacheError> {
        let mut invocation = new_invocation(script, names);
        invocation.arg(arguments);
        self.link.run(|mut connection| async move { invocation.invoke_async(&mut connection).await }).await
    }

    pub(crate) fn entry_content(&self, names: &KeyNames, token: &AccessToken) -> Result<EntryContent, CacheError> {
        let Settings { sealing, clock, .. } = &*self.settings;
        let mut fields = sealing.fingerprints(names, token);
        fields.push(("value".to_owned(), sealing.seal(names, token)?));
        let mut lifetime = token.expires_at().map(|end| end.duration_since(clock.now()).unwrap_or_default());
        if token.refresh_token().is_some() {
            fields.push(("renewable".to_owned(), b"1".to_vec()));
            lifetime = lifetime.map(|time| time.saturating_add(REFRESH_TOKEN_EXTRA_LIFETIME));
        }
        // 0 means unlimited, so the entry of an expired token gets the minimum lifetime of 1 ms.
        let lifetime_ms = lifetime.map_or(0, |time| milliseconds(time.min(MAX_ENTRY_LIFETIME)).max(1));
        Ok(EntryContent { lifetime_ms, fence_extra_lifetime_ms: milliseconds(FENCE_EXTRA_LIFETIME), fields })
    }

    /// Returns the content of a tombstone: the digests of a refused refresh token, and the access token if it is still
    /// valid.
    pub(crate) fn tombstone(
        &self,
        names: &KeyNames,
        refused_refresh_token: &Secret,
        valid_token: Option<&AccessToken>,
    ) -> Result<EntryContent, CacheError> {
        let (lifetime_ms, fence_extra_lifetime_ms) =
            (milliseconds(self.settings.tombstone_lifetime), milliseconds(FENCE_EXTRA_LIFETIME));
        let mut content = match valid_token {
            Some(token) => self.entry_content(names, token)?,
            None => EntryContent { lifetime_ms, fence_extra_lifetime_ms, fields: Vec::new() },
        };
        content.fields.extend(self.settings.sealing.refusal_digests(names, refused_refresh_token));
        content.lifetime_ms = if content.lifetime_ms == 0 { 0 } else { content.lifetime_ms.max(lifetime_ms) };
        Ok(content)
    }

    async fn delete_entry(&self, names: &KeyNames) -> Result<(), CacheError> {
        self.run_script(&scripts::DELETE, names, (random_fence_increment(), milliseconds(FENCE_EXTRA_LIFETIME))).await
    }

    /// Deletes all entries of one server in batches.
    async fn clear_primary(&self, primary: &Primary) -> Result<(), CacheError> {
        let (pattern, mut cursor) = (self.settings.namespace.pattern(), 0);
        loop {
            let scan = self.link.run(|mut connection| {
                let pattern = &pattern;
                async move { connection.scan(primary, pattern, cursor).await }
            });
            let (next_cursor, found_keys) = scan.await?;
            // A scan can return all three Redis keys of a token key, so an entry may be deleted up to three times.
            // Repeated deletions only advance the fence.
            let names = found_keys.iter().filter_map(|name| self.settings.namespace.parse(name)).map(Ok);
            stream::iter(names)
                .try_for_each_concurrent(CLEAR_CONCURRENCY, async |names| self.delete_entry(&names).await)
                .await?;
            if next_cursor == 0 {
                return Ok(());
            }
            cursor = next_cursor;
        }
    }
}

#[async_trait]
impl AsyncTokenCache for RedisTokenCache {
    async fn get(&self, key: &TokenKey) -> Result<Option<AccessToken>, TokenError> {
        let names = self.key_names(key);
        let value = self.link.run(|mut connection| {
            let entry = &names.entry;
            async move {
                foreign_value_as_miss(redis::cmd("HGET").arg(entry).arg("value").query_async(&mut connection).await)
            }
        });
        Ok(value.await?.and_then(|value| self.settings.sealing.open(&names, value)))
    }

    async fn set(&self, key: &TokenKey, token: &AccessToken) -> Result<(), TokenError> {
        let names = self.key_names(key);
        let content = self.entry_content(&names, token)?;
        Ok(self.run_script(&scripts::STORE, &names, (random_fence_increment(), content)).await?)
    }

    async fn delete(&self, key: &TokenKey) -> Result<(), TokenError> {
        Ok(self.delete_entry(&self.key_names(key)).await?)
    }

    async fn clear(&self) -> Result<(), TokenError> {
        let primaries = self.link.run(|mut connection| async move { connection.primaries().await }).await?;
        let clearing = stream::iter(primaries).map(Ok::<_, CacheError>);
        Ok(clearing.try_for_each_concurrent(None, async |primary| self.clear_primary(&primary).await).await?)
    }

    async fn delete_if(&self, key: &TokenKey, rejected: &AccessToken) -> Result<bool, TokenError> {
        let names = self.key_names(key);
        let fingerprints = self.settings.sealing.fingerprints(&names, rejected);
        Ok(self.run_script(&scripts::REJECT, &names, fingerprints).await?)
    }
}

impl EntryContent {
    /// Returns content without fields, which deletes the entry.
    pub(crate) fn deletion() -> Self {
        Self { lifetime_ms: 0, fence_extra_lifetime_ms: 0, fields: Vec::new() }
    }
}

impl redis::ToRedisArgs for EntryContent {
    fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
        (self.lifetime_ms, self.fence_extra_lifetime_ms).write_redis_args(out);
        self.fields.write_redis_args(out);
    }
}

impl fmt::Debug for RedisTokenCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisTokenCache")
            .field("server", &self.link.address())
            .field("namespace", &self.settings.namespace)
            .finish_non_exhaustive()
    }
}

/// Returns a random increment for a fence.
pub(crate) fn random_fence_increment() -> u64 {
    fastrand::u64(1..=MAX_FENCE_INCREMENT)
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Treats a value that is not a hash as a cache miss, because this crate did not write it.
fn foreign_value_as_miss(response: RedisResult<Option<Vec<u8>>>) -> RedisResult<Option<Vec<u8>>> {
    let has_wrong_type = |error: &RedisError| error.code() == Some("WRONGTYPE");
    response.or_else(|error| if has_wrong_type(&error) { Ok(None) } else { Err(error) })
}
