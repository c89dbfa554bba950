use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, AsyncTokenCache, Clock, Secret, TokenError, TokenKey};
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{RedisError, RedisResult, Script};
use url::Url;

use crate::builder::RedisTokenCacheBuilder;
use crate::error::CacheError;
use crate::link::Link;
use crate::names::{Names, Namespace};
use crate::scripts::{self, on};
use crate::sealing::Sealing;
use crate::server::Primary;

/// A fence stays so much longer than the lease or the token that it guards: no leader is late by so much.
pub(crate) const FENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A refresh token stays so much longer than the access token that it came with: nobody may need one meanwhile.
const LOGIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// The record of a refused refresh token stays for this time: longer than a late process takes to publish the successor.
/// One attempt takes up to 2 min (`TokenSourceBuilder::with_attempt_timeout`), and the wait for the lease up to 1 min; the
/// rest is for a publication that is repeated.
pub(crate) const TOMBSTONE: Duration = Duration::from_secs(5 * 60);

/// The longest step from one number of a fence to the next. A number is given out twice after a failover with a probability
/// of one to this, and the numbers of a key last for a billion steps: a Lua number is exact below 2^53.
const STEP: u64 = 1 << 24;

/// No entry stays longer: Redis takes no time without end.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// So many entries are forgotten at a time when all are.
const AT_A_TIME: usize = 32;

/// Keeps tokens in Redis, sealed, and lets one of all processes that share it obtain them: an [`AsyncTokenCache`] and a
/// [`RefreshLease`]. Cheap to clone; clones share one connection.
///
/// An entry stays as long as its token is good, and 30 days longer if a refresh token came with it. One that cannot be
/// read – it was sealed with another key, belongs to another entry, or is somebody else's – is a miss.
///
/// While Redis is away, all methods fail at once with a [`CacheError`] that [`is_away`](CacheError::is_away).
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
    pub(crate) tombstone: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The content of an entry: the last arguments of a script that writes.
pub(crate) struct Written {
    time: u64,
    fence: u64,
    /// Empty to delete the entry.
    fields: Vec<(String, Vec<u8>)>,
}

impl RedisTokenCache {
    /// Starts to set up a cache on one server: `redis://` or `rediss://`, a host, a port, and the number of a database,
    /// with a user and a password if need be.
    pub fn builder(server: &Url) -> RedisTokenCacheBuilder {
        RedisTokenCacheBuilder::new(vec![server.clone()], false)
    }

    /// Starts to set up a cache on a Redis Cluster, of which these are some nodes.
    pub fn cluster_builder<'a>(nodes: impl IntoIterator<Item = &'a Url>) -> RedisTokenCacheBuilder {
        RedisTokenCacheBuilder::new(nodes.into_iter().cloned().collect(), true)
    }

    pub(crate) fn new(link: Arc<Link>, settings: Settings) -> Self {
        Self { link, settings: Arc::new(settings) }
    }

    pub(crate) fn names(&self, key: &TokenKey) -> Names {
        self.settings.namespace.names(key)
    }

    /// Runs a script with these arguments.
    pub(crate) async fn run<T: redis::FromRedisValue>(
        &self,
        script: &'static Script,
        names: &Names,
        arguments: impl redis::ToRedisArgs,
    ) -> Result<T, CacheError> {
        let mut invocation = on(script, names);
        invocation.arg(arguments);
        self.link.run(|mut connection| async move { invocation.invoke_async(&mut connection).await }).await
    }

    /// The content of an entry for a token.
    pub(crate) fn written(&self, names: &Names, token: &AccessToken) -> Result<Written, CacheError> {
        let Settings { sealing, clock, .. } = &*self.settings;
        let mut fields = sealing.fingerprints(names, token);
        fields.push(("value".to_owned(), sealing.seal(names, token)?));
        let mut time = token.expires_at().map(|end| end.duration_since(clock.now()).unwrap_or_default());
        if token.refresh_token().is_some() {
            fields.push(("renewable".to_owned(), b"1".to_vec()));
            time = time.map(|time| time.saturating_add(LOGIN));
        }
        // 0 stands for an unlimited time. An expired entry is deleted at once.
        let time = time.map_or(0, |time| milliseconds(time.min(LONGEST)).max(1));
        Ok(Written { time, fence: milliseconds(FENCE), fields })
    }

    /// The content of a tombstone: the digests of a refused refresh token, and the access token if that is still valid.
    pub(crate) fn tombstone(
        &self,
        names: &Names,
        refused: &Secret,
        rest: Option<&AccessToken>,
    ) -> Result<Written, CacheError> {
        let time = milliseconds(self.settings.tombstone);
        let mut written = match rest {
            Some(token) => self.written(names, token)?,
            None => Written { time, fence: milliseconds(FENCE), fields: Vec::new() },
        };
        written.fields.extend(self.settings.sealing.refusals(names, refused));
        written.time = if written.time == 0 { 0 } else { written.time.max(time) };
        Ok(written)
    }

    async fn forget(&self, names: &Names) -> Result<(), CacheError> {
        self.run(&scripts::FORGET, names, (step(), milliseconds(FENCE))).await
    }

    /// Forgets all entries of one server, batch by batch.
    async fn clear_on(&self, primary: &Primary) -> Result<(), CacheError> {
        let (pattern, mut cursor) = (self.settings.namespace.pattern(), 0);
        loop {
            let step = self.link.run(|mut connection| {
                let pattern = &pattern;
                async move { connection.scan(primary, pattern, cursor).await }
            });
            let (next, found) = step.await?;
            // The same entry may be named up to three times: to forget it once more does no harm.
            let names = found.iter().filter_map(|name| self.settings.namespace.of(name)).map(Ok);
            stream::iter(names).try_for_each_concurrent(AT_A_TIME, async |names| self.forget(&names).await).await?;
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
        let written = self.written(&names, token)?;
        Ok(self.run(&scripts::STORE, &names, (step(), written)).await?)
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

impl Written {
    /// No content.
    pub(crate) fn nothing() -> Self {
        Self { time: 0, fence: 0, fields: Vec::new() }
    }
}

impl redis::ToRedisArgs for Written {
    fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
        (self.time, self.fence).write_redis_args(out);
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

/// The step to the next number of a fence.
pub(crate) fn step() -> u64 {
    fastrand::u64(1..=STEP)
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What is not of our making under the name of an entry is no entry.
fn or_miss(found: RedisResult<Option<Vec<u8>>>) -> RedisResult<Option<Vec<u8>>> {
    let is_foreign = |error: &RedisError| error.code() == Some("WRONGTYPE");
    found.or_else(|error| if is_foreign(&error) { Ok(None) } else { Err(error) })
}
