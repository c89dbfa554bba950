use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use auth_core::error_chain;
use tokio::time::Instant;
use url::Url;

use super::circuit::{Circuit, Entry, Outage};
use super::event::{Resumed, RetryEvent, Waiting};
use super::gave_up::{GaveUp, Reason};
use super::hosts::{Host, Hosts};
use super::policy::RetryPolicy;
use crate::response::MAX_PAUSE;

/// The attempts of one request. The request may be sent more than once, so it must be idempotent.
///
/// ```
/// use auth_http::retry::RetryPolicy;
/// use auth_http::{HttpClient, Request};
/// # use auth_http::Response;
///
/// # async fn example(client: HttpClient, url: url::Url) -> Result<Response, Box<dyn std::error::Error>> {
/// let mut attempts = client.attempts(&url, &RetryPolicy::default());
/// loop {
///     attempts.ready().await?;
///     match client.send(Request::get(url.clone())).await {
///         Ok(response) => {
///             attempts.answered();
///             return Ok(response);
///         }
///         Err(error) if error.is_transient() => attempts.failed(&error, None)?,
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Attempts {
    host: Arc<Host>,
    policy: RetryPolicy,
    /// Failures since the last progress.
    failures: u32,
    /// The time of the first of these failures.
    since: Option<Instant>,
    /// The cause of the last of these failures.
    cause: String,
    /// The end of the backoff of this request alone.
    not_before: Option<Instant>,
    is_probe: bool,
}

/// The next step of a request.
enum Step {
    Send,
    Fail(GaveUp),
    /// Wait until this time, or for a change of the circuit.
    Wait(Option<Instant>),
}

impl Hosts {
    /// Starts the attempts of one request to the host of `url`.
    pub fn attempts(&self, url: &Url, policy: &RetryPolicy) -> Attempts {
        Attempts::new(self.host(url), *policy)
    }
}

impl Attempts {
    fn new(host: Arc<Host>, policy: RetryPolicy) -> Self {
        Self { host, policy, failures: 0, since: None, cause: String::new(), not_before: None, is_probe: false }
    }

    /// Starts attempts with their own circuit breaker, for work that is not a request to one host.
    pub fn alone(policy: &RetryPolicy) -> Self {
        let host = Host::default();
        host.circuit().has_answered = true;
        Self::new(Arc::new(host), *policy)
    }

    /// Returns the number of failures since the last progress.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Continues a sequence of failures whose first failure was `elapsed` ago.
    #[must_use]
    pub fn since(mut self, elapsed: Option<Duration>) -> Self {
        self.since = elapsed.and_then(|elapsed| Instant::now().checked_sub(elapsed));
        self
    }

    /// Waits until the request may be sent: immediately, unless it has failed or its host is failing.
    ///
    /// # Errors
    ///
    /// [`GaveUp`] if the host has been failing for longer than the limit.
    pub async fn ready(&mut self) -> Result<(), GaveUp> {
        if self.policy.is_disabled() {
            return Ok(());
        }
        let host = self.host.clone();
        loop {
            let mut changed = std::pin::pin!(host.changed.notified());
            changed.as_mut().enable();
            match self.step(Instant::now()) {
                Step::Send => return Ok(()),
                Step::Fail(gave_up) => return Err(gave_up),
                Step::Wait(Some(until)) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(until) => {}
                },
                Step::Wait(None) => changed.await,
            }
        }
    }

    /// Records a response that is not a transient failure. The circuit closes.
    pub fn answered(&mut self) {
        self.is_probe = false;
        let ended = self.host.circuit().succeeded();
        if ended.was_failing {
            self.host.changed.notify_waiters();
        }
        if let Some(began) = ended.announced {
            let (host, elapsed) = (self.host.name.clone(), began.elapsed());
            self.host.tell(&RetryEvent::Resumed(Resumed { host, elapsed }));
        }
    }

    /// Records progress. The next failure counts as a first failure.
    pub fn progressed(&mut self) {
        (self.failures, self.since, self.not_before) = (0, None, None);
    }

    /// Records a transient failure. `retry_after` is the pause that the server requested (`Retry-After`).
    ///
    /// # Errors
    ///
    /// [`GaveUp`] if the request must not be retried.
    pub fn failed(&mut self, error: &(dyn Error + 'static), retry_after: Option<Duration>) -> Result<(), GaveUp> {
        self.fail(error, retry_after, false)
    }

    /// Records a response with a transient failure. `retry_after` is the pause that the server requested
    /// (`Retry-After`).
    ///
    /// # Errors
    ///
    /// [`GaveUp`] if the request must not be retried.
    pub fn refused(&mut self, error: &(dyn Error + 'static), retry_after: Option<Duration>) -> Result<(), GaveUp> {
        self.fail(error, retry_after, true)
    }

    fn fail(
        &mut self,
        error: &(dyn Error + 'static),
        retry_after: Option<Duration>,
        is_answer: bool,
    ) -> Result<(), GaveUp> {
        let retry_after = retry_after.map(|retry_after| retry_after.min(MAX_PAUSE));
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        if self.policy.is_disabled() {
            return Err(self.gave_up(Reason::Disabled, now));
        }
        let was_probe = std::mem::take(&mut self.is_probe);
        self.cause = error_chain(error);
        let (backoff, failures, random) = (self.policy.backoff(), self.failures, fastrand::f64());
        let pause = |probes: u32| backoff.pause(probes.max(failures), random);
        let (outage, deadline, has_answered) = {
            let mut circuit = self.host.circuit();
            circuit.has_answered |= is_answer;
            circuit.failed(now, was_probe, self.cause.clone(), retry_after, pause);
            let outage = circuit.outage();
            let deadline = self.deadline(&circuit, outage.as_ref());
            (outage, deadline, circuit.has_answered)
        };
        self.host.changed.notify_waiters();
        let deadline = deadline.unwrap_or(now);
        let left = deadline.saturating_duration_since(now);
        if self.policy.attempts().is_some_and(|attempts| failures >= attempts) {
            return Err(self.gave_up(Reason::Attempts, now));
        }
        if left.is_zero() {
            return Err(self.gave_up(if has_answered { Reason::Time } else { Reason::Unanswered }, now));
        }
        if let Some(retry_after) = retry_after.filter(|retry_after| *retry_after > left) {
            return Err(self.gave_up(Reason::RetryAfter { retry_after, left }, now));
        }
        // This applies even if the host seems to fail: without other requests, only another request can show whether it
        // does.
        if now - since >= self.policy.single_limit() {
            return Err(self.gave_up(Reason::Single, now));
        }
        // The circuit sets the time of the next attempt for all requests.
        self.not_before = None;
        if outage.is_none() {
            self.not_before = Some((now + pause(failures)).min(deadline));
        }
        Ok(())
    }

    fn step(&mut self, now: Instant) -> Step {
        if self.is_probe {
            return Step::Send;
        }
        let mut circuit = self.host.circuit();
        let outage = circuit.outage();
        let deadline = self.deadline(&circuit, outage.as_ref());
        let (until, is_asked) = if let Some(not_before) = self.not_before.filter(|not_before| now < *not_before) {
            (Some(not_before), false)
        } else {
            // One last request is sent when the limit is reached, so that all of the time is used.
            let is_last_call =
                deadline.is_some_and(|end| now >= end && outage.as_ref().is_some_and(|outage| outage.last < end));
            match circuit.enter(now, is_last_call) {
                Entry::Send => return Step::Send,
                Entry::Probe => {
                    self.is_probe = true;
                    return Step::Send;
                }
                Entry::Wait { until, is_asked } => (until, is_asked),
            }
        };
        let (Some(deadline), Some(until)) = (deadline, until) else { return Step::Wait(None) };
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            let cause = outage.map(|outage| outage.cause).unwrap_or_default();
            drop(circuit);
            return Step::Fail(self.gave_up(Reason::Unavailable { host: self.host.name.clone(), cause }, now));
        }
        if is_asked && until > deadline {
            drop(circuit);
            let retry_after = until.saturating_duration_since(now);
            return Step::Fail(self.gave_up(Reason::RetryAfter { retry_after, left }, now));
        }
        let next = until.min(deadline);
        let notice = self.notice(&mut circuit, outage, now, next, left);
        drop(circuit);
        match notice {
            Notice::Later(at) => Step::Wait(Some(next.min(at))),
            Notice::Now(waiting) => {
                self.host.tell(&RetryEvent::Waiting(waiting));
                Step::Wait(Some(next))
            }
            Notice::None => Step::Wait(Some(next)),
        }
    }

    /// Decides whether to notify the observer of a wait.
    fn notice(
        &self,
        circuit: &mut Circuit,
        outage: Option<Outage>,
        now: Instant,
        next: Instant,
        left: Duration,
    ) -> Notice {
        let Some(observer) = &self.host.observer else { return Notice::None };
        let Some(since) = self.first_failure(outage.as_ref()).filter(|_| !circuit.is_announced()) else {
            return Notice::None;
        };
        let elapsed = now.saturating_duration_since(since);
        if elapsed < observer.notice {
            return Notice::Later(since + observer.notice);
        }
        circuit.announce(since);
        Notice::Now(Waiting {
            host: self.host.name.clone(),
            cause: outage.map_or_else(|| self.cause.clone(), |outage| outage.cause),
            elapsed,
            next_attempt: next.saturating_duration_since(now),
            left,
        })
    }

    /// Returns the time of the first failure without a response since, of this request or of any request to its host.
    fn first_failure(&self, outage: Option<&Outage>) -> Option<Instant> {
        self.since.into_iter().chain(outage.map(|outage| outage.since)).min()
    }

    fn deadline(&self, circuit: &Circuit, outage: Option<&Outage>) -> Option<Instant> {
        Some(self.first_failure(outage)? + self.policy.limit_for(circuit.has_answered))
    }

    fn gave_up(&self, reason: Reason, now: Instant) -> GaveUp {
        let outage = self.host.circuit().outage();
        let elapsed = self.first_failure(outage.as_ref()).map_or(Duration::ZERO, |since| now - since);
        GaveUp::new(reason, self.failures, elapsed)
    }
}

/// A decision about notifying the observer of a wait.
enum Notice {
    None,
    Later(Instant),
    Now(Waiting),
}

impl Drop for Attempts {
    /// Makes another request the probe, because a dropped probe has no result.
    fn drop(&mut self) {
        if self.is_probe {
            self.host.circuit().abandoned();
            self.host.changed.notify_waiters();
        }
    }
}
