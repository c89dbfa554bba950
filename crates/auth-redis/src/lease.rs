//! One process obtains a token for all.
//!
//! Where it is hard:
//! - **The leader dies.** Its lease ends by itself, after the time of a lease, and the next one leads.
//! - **The provider takes longer than a lease lasts.** The lease is renewed, three times as often as it would end, but
//!   not for ever: the wait of the others has an end, too.
//! - **The leader is late**: it was stopped, or cut off, its lease has ended, and another has led since. What it
//!   publishes is not written, because it has not the last fence any more.
//! - **Nobody knows whether the lease was taken**, because the answer did not come. It is ended on the side, so that
//!   others do not wait for a leader that is none.
//! - **All is cleared while somebody leads.** The fence has gone on, and what the leader publishes is not written.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use auth_core::{AccessToken, Acquired, LeaseGuard, RefreshLease, TokenError, TokenKey};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cache::{FENCE, RedisTokenCache, milliseconds};
use crate::error::CacheError;
use crate::link::rest;
use crate::names::Names;
use crate::scripts;

/// The shortest and the longest pause between two looks at a lease that another has. Chance takes up to half of it, so
/// that those who wait do not ask in step.
const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(160));

/// The entry that was seen last.
#[derive(Default)]
struct Seen {
    /// Its fence; nothing if there is no entry.
    version: Vec<u8>,
    token: Option<AccessToken>,
    is_rejected: bool,
}

/// What became of an attempt to take the lease.
enum Attempt {
    /// It is ours, with this fence.
    Leading(u64),
    /// It is another's, for so long if that is known.
    Busy(Option<Duration>),
    /// There is another entry than the one that was seen.
    Changed(Seen),
}

/// A lease that this process has, or may have. It ends when this is dropped.
struct Hold {
    cache: RedisTokenCache,
    names: Names,
    owner: String,
    /// It is not known to have ended.
    may_be_held: bool,
    renewal: Option<AbortHandle>,
}

/// The right to obtain a token for all.
struct Guard {
    hold: Hold,
    fence: u64,
    seen: Seen,
}

#[async_trait]
impl RefreshLease for RedisTokenCache {
    async fn acquire(&self, key: &TokenKey, previous: Option<&AccessToken>) -> Result<Acquired, TokenError> {
        let (start, wait) = (Instant::now(), self.settings.wait);
        let mut hold = Hold::new(self, key);
        let (mut seen, mut pause) = (Seen::default(), POLL.0);
        loop {
            match hold.attempt(&seen).await? {
                Attempt::Leading(fence) => {
                    hold.renew();
                    return Ok(Acquired::Leading(Box::new(Guard { hold, fence, seen })));
                }
                Attempt::Changed(now) => match now.news(self, previous) {
                    Some(token) => return Ok(Acquired::Adopted(token.clone())),
                    None => seen = now,
                },
                Attempt::Busy(left) => {
                    let waited = start.elapsed();
                    let rest_of_wait = wait.checked_sub(waited).filter(|left| !left.is_zero());
                    let rest_of_wait = rest_of_wait.ok_or_else(|| CacheError::busy(waited))?;
                    let pause_now = pause.mul_f64(1.0 - fastrand::f64() / 2.0);
                    rest([Some(rest_of_wait), left].into_iter().flatten().fold(pause_now, Duration::min)).await;
                    pause = (pause * 2).min(POLL.1);
                }
            }
        }
    }
}

impl Seen {
    /// The token, if it is of use to somebody who knows `previous`.
    fn news(&self, cache: &RedisTokenCache, previous: Option<&AccessToken>) -> Option<&AccessToken> {
        let token = self.token.as_ref().filter(|_| !self.is_rejected)?;
        let now = cache.settings.clock.now();
        let is_good = [token.expires_at(), token.refresh_at()].into_iter().flatten().all(|moment| moment > now);
        (is_good && previous.is_none_or(|previous| !previous.is_same(token))).then_some(token)
    }
}

impl Hold {
    fn new(cache: &RedisTokenCache, key: &TokenKey) -> Self {
        let owner = format!("{:032x}", fastrand::u128(..));
        Self { cache: cache.clone(), names: cache.names(key), owner, may_be_held: false, renewal: None }
    }

    async fn attempt(&mut self, seen: &Seen) -> Result<Attempt, CacheError> {
        type Answer = (u8, i64, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);
        let times = (milliseconds(self.cache.settings.lease), milliseconds(FENCE));
        // Where there is no way, nothing is sent.
        self.may_be_held = self.cache.link.is_open();
        let arguments = (&self.owner, times.0, times.1, &seen.version);
        let answer: Answer = self.cache.run(&scripts::TAKE, &self.names, arguments).await?;
        let (kind, number, version, value, spent) = answer;
        let number = u64::try_from(number).unwrap_or_default();
        self.may_be_held = kind == 1;
        Ok(match kind {
            1 => Attempt::Leading(number),
            0 => Attempt::Busy(Some(Duration::from_millis(number)).filter(|left| !left.is_zero())),
            _ => {
                let is_rejected = value.is_none();
                let token = value.or(spent).and_then(|value| self.cache.settings.sealing.open(&self.names, value));
                Attempt::Changed(Seen { version: version.unwrap_or_default(), token, is_rejected })
            }
        })
    }

    /// Renews the lease from now on, until this is dropped, or half the wait of the others is over.
    fn renew(&mut self) {
        let (cache, names, owner) = (self.cache.clone(), self.names.clone(), self.owner.clone());
        let (time, longest) = (self.cache.settings.lease, self.cache.settings.wait / 2);
        let renewal = async move {
            let start = Instant::now();
            let mut times = interval(time / 3);
            times.set_missed_tick_behavior(MissedTickBehavior::Delay);
            times.tick().await;
            while start.elapsed() < longest {
                times.tick().await;
                let kept: Result<bool, _> = cache.run(&scripts::KEEP, &names, (&owner, milliseconds(time))).await;
                if let Ok(false) = kept {
                    return;
                }
            }
        };
        self.renewal = Some(tokio::spawn(renewal).abort_handle());
    }

    async fn release(&mut self) -> Result<(), CacheError> {
        self.cache.run::<()>(&scripts::RELEASE, &self.names, &self.owner).await?;
        self.may_be_held = false;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.may_be_held {
            let (cache, names, owner) = (self.cache.clone(), self.names.clone(), self.owner.clone());
            // Without a runtime, or while Redis is away, it ends by itself.
            runtime.spawn(async move {
                let start = Instant::now();
                while cache.run::<()>(&scripts::RELEASE, &names, &owner).await.is_err() {
                    if start.elapsed() >= cache.settings.lease {
                        break;
                    }
                    rest(POLL.1).await;
                }
            });
        }
    }
}

#[async_trait]
impl LeaseGuard for Guard {
    fn current(&self) -> Option<&AccessToken> {
        self.seen.token.as_ref()
    }

    async fn publish(&mut self, token: &AccessToken) -> Result<(), TokenError> {
        let Hold { cache, names, owner, .. } = &self.hold;
        let written = cache.written(names, token)?;
        let is_written: bool = cache.run(&scripts::PUBLISH, names, (owner, self.fence, written)).await?;
        if !is_written {
            tracing::debug!("another process has obtained a token since, or all were forgotten: this one is not kept");
        }
        self.hold.may_be_held = false;
        Ok(())
    }

    async fn give_up(mut self: Box<Self>) {
        // What goes wrong is tried again when this is dropped.
        let _ = self.hold.release().await;
    }

    async fn discard(mut self: Box<Self>, refused: &AccessToken) -> Result<(), TokenError> {
        let is_seen = |seen: &AccessToken| seen.is_same(refused) && seen.refresh_token() == refused.refresh_token();
        if !self.seen.token.as_ref().is_some_and(is_seen) {
            return Ok(self.hold.release().await?);
        }
        let Hold { cache, names, owner, .. } = &self.hold;
        cache.run::<()>(&scripts::DISCARD, names, (owner, &self.seen.version)).await?;
        self.hold.may_be_held = false;
        Ok(())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Guard")
            .field("entry", &self.hold.names.entry)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}
